"""Training steps of the implementations as functions, and what makes two of them equal: losses and gradients."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .harness import relative_difference
from .peers import FixedPoints

LAYERS = 10  # supervised predictions of nine decoder layers


def total(losses: dict[str, Tensor]) -> Tensor:
    return sum(value.sum() for value in losses.values())


def autocast(device: str, dtype: str):
    """The context of a forward pass in ``dtype``."""
    return torch.autocast(device, getattr(torch, dtype), enabled=dtype != 'float32')


def head_step(head: nn.Module, features: Sequence[Tensor], samples: list) -> dict[str, Tensor]:
    """Forward and backward of a head with its criterion; the losses by name."""
    losses = head.loss(features, samples)
    total(losses).backward()
    return {name: value.detach() for name, value in losses.items()}


def model_step(model: nn.Module, inputs: Tensor, samples: list, dtype: str = 'float32') -> dict[str, Tensor]:
    """Forward and backward of a whole detector behind its preprocessor; the losses by name."""
    with autocast(inputs.device.type, dtype):
        losses = model.loss(inputs, samples)
    total(losses).backward()
    return {name: value.detach() for name, value in losses.items()}


def transformers_step(
    model: nn.Module, inputs: Tensor, masks: list[Tensor], labels: list[Tensor], dtype: str = 'float32'
) -> Tensor:
    """The same of Hugging Face's model, which wants float masks; the total loss."""
    with autocast(inputs.device.type, dtype):
        loss = model(inputs, mask_labels=masks, class_labels=labels).loss
    loss.backward()
    return loss.detach()


def replaying(step: Callable[[], object], points: FixedPoints, order: Sequence[int]) -> Callable[[], object]:
    """The step of a peer with the points that our criterion drew."""

    def run() -> object:
        with points.replayed(order):
            return step()

    return run


@contextmanager
def same_points(head: nn.Module) -> Iterator[FixedPoints]:
    """Our criterion draws recorded points while this lasts."""
    criterion = head.criterion
    before, criterion.draw = criterion.draw, FixedPoints()
    try:
        yield criterion.draw
    finally:
        criterion.draw = before


def equal_losses(ours: dict[str, Tensor], theirs: dict[str, Tensor], loose: bool = False) -> str:
    """Every term of every layer within a thousandth, their sum within a ten-thousandth.

    Attention masks are thresholds: of a million logits one may lie so close to it that rounding decides, and everything
    behind it differs in the fourth digit. In half precision (``loose``) many do.
    """
    assert ours.keys() == theirs.keys(), f'different losses: {sorted(ours.keys() ^ theirs.keys())}'
    sums = relative_difference(total(ours), total(theirs))
    worst = max(relative_difference(ours[name].squeeze(), theirs[name].squeeze()) for name in ours)
    assert sums <= (0.1 if loose else 1e-4), f'the total loss differs by {sums:.1e} of its value'
    assert loose or worst <= 1e-3, f'a loss differs by {worst:.1e} of its value'
    return f'total loss within {sums:.0e}, {len(ours)} terms within {worst:.0e}'


def equal_gradients(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> str:
    """Every gradient within a thirtieth of its norm, for the same reason; one that is rounding alone counts by the
    largest norm."""
    assert ours.keys() == theirs.keys(), f'different gradients: {sorted(ours.keys() ^ theirs.keys())[:5]}'
    floor = 1e-4 * max(gradient.norm() for gradient in theirs.values())
    worst = max(float((ours[name] - theirs[name]).norm() / theirs[name].norm().clamp(min=floor)) for name in theirs)
    assert worst <= 1 / 30, f'a gradient differs by {worst:.1e} of its norm'
    return f'{len(theirs)} gradients within {worst:.0e}'


def gradients(model: nn.Module, features: Sequence[Tensor] = ()) -> dict[str, Tensor]:
    """Of all parameters that have one, and of the features."""
    named = [*model.named_parameters(), *((f'feature {i}', feature) for i, feature in enumerate(features))]
    return {name: value.grad for name, value in named if value.grad is not None}


def free_gradients(*models: nn.Module, features: Sequence[Tensor] = ()) -> None:
    for model in models:
        model.zero_grad(set_to_none=True)
    for feature in features:
        feature.grad = None
