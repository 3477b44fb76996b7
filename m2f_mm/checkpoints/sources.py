"""Whose weights a state dict holds, by its keys, and how they become this package's."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from m2f_mm.heads import HEAD_NAMES

from . import dino, huggingface, official

OURS, OFFICIAL, HUGGINGFACE, DINO, BACKBONE = (
    "MMDetection's, MMSegmentation's or this package's",
    'official (detectron2)',
    "Hugging Face's",
    "MMDetection's DINO",
    'a backbone alone',
)
_MARKS = (  # how some key of each begins; the first that fits
    (OFFICIAL, ('sem_seg_head.',)),
    (HUGGINGFACE, ('model.pixel_level_module.',)),
    (OURS, (*(f'{head}.' for head in HEAD_NAMES), 'backbone.')),
    (BACKBONE, ('stem.conv', 'res2.', 'patch_embed.proj.', 'layers.0.blocks.')),
)
_NOT_OF_A_BACKBONE = ('head.', 'norm.', 'stem.fc.', 'fc.')  # classifiers and their norm


def source_of(keys: Iterable[str]) -> str | None:
    """One of the sources above, None for names of another origin."""
    keys = list(keys)
    if dino.is_dino(keys):
        return DINO
    return next((source for source, starts in _MARKS if any(key.startswith(starts) for key in keys)), None)


def to_ours(
    state_dict: dict[str, Tensor],
    head: str = 'panoptic_head',
    class_ids: Sequence[int] | None = None,
    source: str | None = None,
) -> dict[str, Tensor]:
    """Weights of any source under our names.

    Args:
        state_dict: weights by name.
        head: the model's attribute that holds the head.
        class_ids: place of each of our classes in the published order, where that is another one: our panoptic data
            sets list things first. Weights in MMDetection's names are in our order already.
        source: whose weights they are, where ``source_of`` has said it already.

    Raises:
        KeyError: names keys that belong to none of the sources.
    """
    source = source or source_of(state_dict)
    if source == OURS:
        parts = {key: key.partition('.') for key in state_dict}
        return {
            f'{head}.{rest}' if slot in HEAD_NAMES else key: state_dict[key] for key, (slot, _, rest) in parts.items()
        }
    if source == BACKBONE:
        return backbone_to_ours(state_dict)
    if source == DINO:
        return dino.to_openmmlab(state_dict, head)
    if source is None:
        raise KeyError(f'these names belong to no source that is known here: {", ".join(list(state_dict)[:5])}, ...')
    module = official if source == OFFICIAL else huggingface
    state = module.to_openmmlab(state_dict, head)
    return state if class_ids is None else in_order(state, head, class_ids)


def to_official(
    state_dict: dict[str, Tensor], head: str = 'panoptic_head', class_ids: Sequence[int] | None = None
) -> dict[str, Tensor]:
    """Our weights as the official (detectron2) code names and orders them; the inverse of ``to_ours``.

    Args:
        state_dict: ours.
        head: as for ``to_ours``.
        class_ids: as for ``to_ours``.

    Raises:
        KeyError: names the keys that the official models have no place for.
    """
    return official.from_openmmlab(_in_published_order(state_dict, head, class_ids), head)


def to_huggingface(
    state_dict: dict[str, Tensor], head: str = 'panoptic_head', class_ids: Sequence[int] | None = None
) -> dict[str, Tensor]:
    """Our weights as Hugging Face's Mask2Former or MaskFormer loads them; the inverse of ``to_ours``.

    Args:
        state_dict: ours.
        head: as for ``to_ours``.
        class_ids: as for ``to_ours``.

    Raises:
        KeyError: names the keys that it has no place for.
    """
    return huggingface.from_openmmlab(_in_published_order(state_dict, head, class_ids), head)


def _in_published_order(state_dict: dict[str, Tensor], head: str, class_ids: Sequence[int] | None) -> dict[str, Tensor]:
    return state_dict if class_ids is None else in_order(state_dict, head, torch.tensor(class_ids).argsort().tolist())


def backbone_to_ours(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """A backbone's own file, without its classifier, as the ``init_cfg`` of OpenMMLab's module takes it: a ResNet's
    names bare, a Swin's behind ``backbone.``.

    Raises:
        KeyError: names the keys that belong to neither.
    """
    state = official.backbone_to_openmmlab(
        {
            key: value
            for key, value in state_dict.items()
            if not key.startswith(_NOT_OF_A_BACKBONE) and not key.endswith('attn_mask')
        }
    )
    prefix = 'backbone.' if any(name.startswith('patch_embed.') for name in state) else ''
    return {prefix + name: value for name, value in state.items()}


def in_order(state: dict[str, Tensor], head: str, class_ids: Sequence[int]) -> dict[str, Tensor]:
    """Class rows of ``cls_embed`` and ``label_embed`` reordered: row i of the result is row ``class_ids[i]``.

    No-object, where there is one, stays last. Tensors of another number of classes stay as they are.
    """
    count = len(class_ids)
    orders = {count: torch.tensor(class_ids), count + 1: torch.tensor([*class_ids, count])}
    names = [f'{head}.{name}' for name in ('cls_embed.weight', 'cls_embed.bias', 'label_embed.weight')]
    return state | {
        name: state[name][orders[len(state[name])]] for name in names if name in state and len(state[name]) in orders
    }
