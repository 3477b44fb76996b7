"""The head of a model, under whatever name MMDetection, MMSegmentation or the video models keep it."""

from typing import Any

HEAD_NAMES = ('panoptic_head', 'decode_head', 'track_head')


def head_name(model: Any) -> str:
    """Name of the attribute that holds the head.

    Args:
        model: a built model or its config; wrappers (DDP, test-time augmentation) are looked through.

    Raises:
        ValueError: it has none of ``HEAD_NAMES``.
    """
    model = unwrapped(model)
    for name in HEAD_NAMES:
        if read(model, name) is not None:
            return name
    raise ValueError(f'the model has no head: none of {", ".join(HEAD_NAMES)}')


def head_of(model: Any) -> Any:
    """The head of a built model, or the config of the head in a model's config; see ``head_name``."""
    return read(unwrapped(model), head_name(model))


def unwrapped(model: Any) -> Any:
    """The model, or the config, inside of its wrappers."""
    while (inner := read(model, 'module')) is not None:
        model = inner
    return model


def read(owner: Any, key: str) -> Any:
    """Attribute of an object or entry of a config, None where there is none."""
    return owner.get(key) if isinstance(owner, dict) else getattr(owner, key, None)
