"""What MMEngine has to be told once, when ``m2f_mm`` is imported, to work with current torch."""
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer


def allow_checkpoint_types() -> None:
    """Let ``torch.load(weights_only=True)`` read what MMEngine writes into a checkpoint beside tensors.

    These are the logs (``HistoryBuffer``: two NumPy arrays and the names of its statistics) and NumPy scalars such as
    the best score. Since torch 2.6 loading refuses unknown types, and MMEngine 0.10.7 can no longer resume. The check
    stays on: nothing listed here runs code of the file's choosing.
    """
    # torch 2.6 brought the check by default and, with it, the right to name an entry. Older ones need neither.
    if not hasattr(torch.serialization, 'get_unsafe_globals_in_checkpoint'):
        return
    core = np._core if hasattr(np, '_core') else np.core
    dtypes = {type(np.dtype(code)) for code in '?bBhHiIlLqQefdUS'}
    allowed: list[Any] = [HistoryBuffer, np.ndarray, np.dtype, *sorted(dtypes, key=lambda kind: kind.__name__)]
    # NumPy 2 moved these two; a checkpoint may come from either side of the move.
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        allowed.append((core.multiarray._reconstruct, f'{module}._reconstruct'))
        allowed.append((core.multiarray.scalar, f'{module}.scalar'))
    allowed.append((history_buffer_method, 'builtins.getattr'))
    torch.serialization.add_safe_globals(allowed)


def history_buffer_method(owner: Any, name: str) -> Any:
    """Stand-in for ``getattr`` while a checkpoint is read: it hands out HistoryBuffer's statistics and no more.

    A pickled HistoryBuffer refers to its methods as ``getattr(HistoryBuffer, 'mean')``. The real ``getattr`` would
    let a file reach any object from there.
    """
    known = {'min', 'max', 'current', 'mean'} | set(HistoryBuffer._statistics_methods)
    if owner is not HistoryBuffer or name not in known:
        raise ValueError(f'the checkpoint asks for {name!r} of {owner!r}; only the statistics of MMEngine\'s '
                         'HistoryBuffer may be read. Do not trust this file')
    return getattr(HistoryBuffer, name, None) or HistoryBuffer._statistics_methods[name]
