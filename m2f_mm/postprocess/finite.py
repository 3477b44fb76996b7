"""A check for predictions that are not finite, without a further wait for the device."""

from collections.abc import Mapping
from typing import NoReturn

import torch
from torch import Tensor


class NonFinitePrediction(FloatingPointError):
    """A prediction is not finite; names which."""


def finite_sum(*parts: Tensor | None) -> Tensor:
    """A number on the device, float32 or wider, a scalar, that is finite if and only if all parts are."""
    sums = [part.sum(dtype=torch.promote_types(part.dtype, torch.float32)) for part in parts if part is not None]
    return sum(sums[1:], sums[0])


def raise_non_finite(parts: Mapping[str, Tensor | None]) -> NoReturn:
    """Name the parts that are not finite; called only where one of them is known to be.

    Raises:
        NonFinitePrediction: always.
    """
    names = [name for name, part in parts.items() if part is not None and not part.isfinite().all()]
    kinds = {str(part.dtype).removeprefix('torch.') for part in parts.values() if part is not None}
    raise NonFinitePrediction(
        f'The {" and ".join(names)} that the network predicts are not finite: a weight or a pixel'
        f' is not, or a value is too large for {" or ".join(sorted(kinds))}'
    )
