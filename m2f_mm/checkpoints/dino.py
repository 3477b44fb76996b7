"""MMDetection's DINO, a detector, to what Mask DINO shares with it. There is no way back."""

import re
from collections.abc import Callable, Iterable, Sequence

from torch import Tensor, nn

from .tables import translate_keys

NUM_HEADS = 8  # of every deformable attention of DINO's


def is_dino(keys: Sequence[str]) -> bool:
    """Whether weights with these names are MMDetection's DINO, whose relatives there have more."""
    if 'dn_query_generator.label_embedding.weight' not in keys:
        return False
    try:
        return bool(_names(keys, ''))
    except KeyError:
        return False


def check(state_dict: dict[str, Tensor], head: nn.Module) -> None:
    """Can a head have weights of this DINO?

    Raises:
        ValueError: its levels are other ones, or in another order.
    """
    decoder, levels, extra = head.pixel_decoder, len(state_dict['level_embed']), len(_inputs(state_dict, 'extra_convs'))
    found = getattr(decoder, 'fine_first', False), len(getattr(decoder, 'input_convs', ()))
    if found != (True, levels) or decoder.num_encoder_levels != levels - extra:
        raise ValueError(
            f"the weights are MMDetection's DINO with {levels} levels, fine to coarse: they fit a Mask "
            f'DINO with num_transformer_feat_level={levels} and pixel_decoder=dict(fine_first=True, '
            f'num_extra_levels={extra})'
        )


def _inputs(keys: Iterable[str], kind: str) -> set[str]:
    """Numbers of the convolutions that a neck has of a kind."""
    return {key.split('.')[2] for key in keys if key.startswith(f'neck.{kind}.')}


def to_openmmlab(state_dict: dict[str, Tensor], head: str = 'panoptic_head') -> dict[str, Tensor]:
    """Weights of MMDetection's DINO under the names of Mask DINO with the same levels, fine to coarse.

    Shared are the backbone, the projections and the encoder, the decoder's layers (the first of Mask DINO's, which has
    more), the choice of tokens, and the embeddings of labels. Where DINO has heads for each layer, those of the last
    become the only ones. What makes masks is new, and learned contents have no counterpart: their number differs.

    DINO's decoder takes the levels fine to coarse, Mask DINO's the other way round: what it has for each level changes
    places here. DINO's positions have another temperature (20, not 10000), which a training has to make up for.

    Args:
        state_dict: weights by name.
        head: attribute of the model that holds the head.

    Raises:
        KeyError: names what DINO has not.
    """
    levels = len(state_dict['level_embed'])
    names = _names(list(state_dict), head)
    first = 'decoder.ref_point_head.layers.0.'
    boxes = state_dict.get(f'{first}weight')
    if boxes is not None and boxes.shape[1] != 2 * boxes.shape[0]:  # a fork encodes boxes with twice as many numbers
        names = {key: name for key, name in names.items() if not key.startswith(first)}
    return {
        name: _reversed_levels(state_dict[key], levels)
        if re.match(r'decoder\.layers\.\d+\.cross_attn\.(sampling_offsets|attention_weights)\.', key)
        else state_dict[key]
        for key, name in names.items()
    }


def _names(keys: Sequence[str], head: str) -> dict[str, str]:
    """Ours for those of DINO's that have a counterpart.

    Raises:
        KeyError: names what DINO has not.
    """
    last = max((int(key.split('.')[2]) for key in keys if key.startswith('decoder.layers.')), default=0)

    def has_none(key: str) -> bool:
        branch = re.match(r'bbox_head\.(?:cls|reg)_branches\.(\d+)', key)
        return key == 'query_embedding.weight' or branch is not None and int(branch[1]) != last

    keys = [key for key in keys if not has_none(key)]
    rows = [
        (r'backbone\.(.+)', r'backbone.\1'),
        (r'neck\.convs\.(\d+)\.(.+)', _input(0, head)),
        (r'neck\.extra_convs\.(\d+)\.(.+)', _input(len(_inputs(keys, 'convs')), head)),
        (r'level_embed', f'{head}.pixel_decoder.level_encoding.weight'),
        (r'(encoder\.layers\..+)', rf'{head}.pixel_decoder.\1'),
        (r'decoder\.(layers\..+)', rf'{head}.transformer_decoder.\1'),
        (r'decoder\.norm\.(.+)', rf'{head}.transformer_decoder.post_norm.\1'),
        (
            r'decoder\.ref_point_head\.layers\.(\d)\.(.+)',
            lambda match: f'{head}.transformer_decoder.ref_point_head.{2 * int(match[1])}.{match[2]}',
        ),
        (r'(memory_trans_(?:fc|norm)\..+)', rf'{head}.\1'),
        (r'bbox_head\.cls_branches\.\d+\.(.+)', rf'{head}.cls_embed.\1'),
        (r'bbox_head\.reg_branches\.\d+\.(.+)', rf'{head}.box_embed.\1'),
        (r'dn_query_generator\.label_embedding\.weight', f'{head}.label_embed.weight'),
    ]
    return translate_keys(keys, {'': ('', rows)}, "MMDetection's DINO")


def _input(first: int, head: str) -> Callable[[re.Match], str]:
    return lambda match: f'{head}.pixel_decoder.input_convs.{first + int(match[1])}.{match[2]}'


def _reversed_levels(rows: Tensor, levels: int) -> Tensor:
    """What a deformable attention has for each head, level and point, with the levels in the opposite order."""
    return rows.unflatten(0, (NUM_HEADS, levels, -1)).flip(1).flatten(0, 2)
