"""Does a checkpoint fit the model? One answer for all tools, whatever wrote the file."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from mmengine.logging import print_log
from mmengine.runner.checkpoint import _load_checkpoint, _load_checkpoint_to_model
from torch import Tensor, nn

from m2f_mm.checkpoints import safe_loading
from m2f_mm.heads import unwrapped

# Buffers that follow from the network's sizes or only count: a file may lack them or have them in excess.
DERIVED = ('num_batches_tracked', 'relative_position_index', 'relative_coords_table')


class LoadReport(NamedTuple):
    """What a checkpoint filled.

    Args:
        source: the checkpoint's file or address.
        fitting: parameters and buffers that it filled.
        missing: those that it lacks.
        reshaped: those that have another shape in it.
        unexpected: its weights that the model has no place for.
        surplus: of ``unexpected`` those of layers of which the model has fewer: with them it was another network.
        meta: what the checkpoint says of itself, under ``meta``.
    """

    source: str
    fitting: list[str]
    missing: list[str]
    reshaped: list[str]
    unexpected: list[str]
    surplus: list[str]
    meta: Mapping[str, Any]

    def require_all(self) -> None:
        """For prediction, evaluation and resumed trainings.

        Raises:
            ValueError: the checkpoint leaves a part of the model as it was drawn, or is of a deeper model.
        """
        empty = [*self.missing, *self.reshaped]
        if empty or self.surplus:
            more = f'; {counted(self.unexpected)} of the file have no place in it' if self.unexpected else ''
            raise ValueError(
                f'{self.source} has no weights of the right shape for {counted(empty)} of '
                f'{len(empty) + len(self.fitting)} parameters and buffers of the model{more}: config and '
                'checkpoint do not belong together'
            )
        if self.unexpected:
            print_log(
                f'{self.source}: the model has no place for {counted(self.unexpected, "weight")} of it', 'current', 30
            )

    def require_some(self) -> None:
        """For ``load_from`` of a training: what does not fit starts anew, as classes of another data set do, which is
        said in one line.

        Raises:
            ValueError: nothing fits.
        """
        if not self.fitting:
            raise ValueError(
                f'{self._described()}: nothing of the checkpoint would be used. Name another load_from, or none'
            )
        if self.missing or self.reshaped or self.unexpected:
            mismatch = f'\nsize mismatch for {", ".join(self.reshaped[:3])}' if self.reshaped else ''
            print_log(f'{self._described()}. What is missing or of another shape starts anew{mismatch}', 'current', 30)

    def _described(self) -> str:
        total = len(self.fitting) + len(self.missing) + len(self.reshaped)
        parts = [f'{len(self.fitting)} of the {total} parameters and buffers of the model fit']
        parts += [
            f'{counted(names)} {what}'
            for what, names in (
                ('missing', self.missing),
                ('of another shape', self.reshaped),
                ('without a place in the model', self.unexpected),
            )
            if names
        ]
        return f'{self.source}: {"; ".join(parts)}'


def counted(names: Sequence[str], noun: str = '') -> str:
    """Number and first names, for a message: '7 weights (a, b, c, ...)'."""
    noun = f' {noun}{"s" * (len(names) != 1)}' if noun else ''
    first = f' ({", ".join(names[:3])}{", ..." if len(names) > 3 else ""})' if names else ''
    return f'{len(names)}{noun}{first}'


@contextmanager
def recorded_loading(model: nn.Module, source: str) -> Iterator[Callable[..., LoadReport]]:
    """Inside of it a checkpoint may be loaded into ``model``, by MMEngine or by torch; the function that it gives,
    called afterwards, with the checkpoint's ``meta`` where there is one, returns the report.

    Args:
        model: wrappers (DDP, test-time augmentation) are looked through.
        source: for the report.
    """
    model = unwrapped(model)
    record: dict[str, list[str]] = {}

    # The last hook before loading: names are ours already. Loading itself goes on to fill these lists.
    def remember(
        state_dict: dict,
        prefix: str,
        metadata: dict,
        strict: bool,
        missing: list[str],
        unexpected: list[str],
        errors: list[str],
    ) -> None:
        record.update(missing=missing, unexpected=unexpected, errors=errors)

    handle = model._register_load_state_dict_pre_hook(remember)
    try:
        yield partial(_report, model, source, record)
    finally:
        handle.remove()


def _report(
    model: nn.Module, source: str, record: Mapping[str, list[str]], meta: Mapping[str, Any] | None = None
) -> LoadReport:
    """What torch's lists of keys and errors say about the whole model.

    Raises:
        ValueError: they are not there, for nothing was loaded.
    """
    if not record:
        raise ValueError(f'{source}: no weights were loaded from it')
    errors = ' '.join(record['errors'])
    reshaped = re.findall(r'size mismatch for (\S+?):', errors) + re.findall(r'parameter named "(\S+?)"', errors)
    own = [name for name in model.state_dict() if not name.endswith(DERIVED)]
    absent = set(record['missing'])
    missing = [name for name in own if name in absent]
    unexpected = [name for name in record['unexpected'] if not name.endswith(DERIVED)]
    not_filled = {*missing, *reshaped}
    kinds = {_kind(name) for name in own}
    return LoadReport(
        source=source,
        fitting=[name for name in own if name not in not_filled],
        missing=missing,
        reshaped=[name for name in reshaped if not name.endswith(DERIVED)],
        unexpected=unexpected,
        surplus=[name for name in unexpected if _kind(name) in kinds],
        meta=meta or {},
    )


def _kind(name: str) -> str:
    """Of a weight, the same for all layers of a list."""
    return re.sub(r'(?<=\.)\d+(?=\.)', '*', name)


def load_weights(model: nn.Module, source: str | Mapping[str, Tensor]) -> LoadReport:
    """Load weights of any source; nothing that is in a file is run.

    Args:
        model: takes the weights that fit, on its device. Parameters and buffers that the report lists as missing or
            of another shape stay as they are.
        source: a file, an address or ``m2f_mm://NAME``; or weights by name.

    Returns:
        A report, whose ``require_all`` or ``require_some`` turns a bad fit into an error.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: the address cannot be fetched.
        ValueError: the file is broken, holds no weights, or asks for more than numbers, texts and containers; or the
            model is none that can have weights of this source.
    """
    with safe_loading():
        if isinstance(source, str):
            checkpoint = _load_checkpoint(source, map_location='cpu', logger='silent')
        else:
            source, checkpoint = 'the state dict', dict(state_dict=source)
        with recorded_loading(model, source) as report:
            _load_checkpoint_to_model(model, checkpoint, logger='silent')
    return report(checkpoint.get('meta'))
