"""MMDetection's DINO, a detector, to what Mask DINO shares with it. There is no way back: DINO has more heads."""

import re
from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from .tables import Reordering, Row, below, rename, translate_weights

NUM_HEADS = 8  # of every deformable attention of DINO's
SOURCE = "MMDetection's DINO"


def is_dino(keys: Sequence[str]) -> bool:
    """Whether weights with these names are MMDetection's DINO, whose relatives there have more."""
    if 'dn_query_generator.label_embedding.weight' not in keys:
        return False
    try:
        return bool(rename(_shared(keys), table(keys, 'head', 1), SOURCE))
    except KeyError:
        return False


def check(state_dict: dict[str, Tensor], head: nn.Module) -> None:
    """Can a head have weights of this DINO?

    Raises:
        ValueError: its levels are other ones, or in another order.
    """
    decoder, levels, extra = head.pixel_decoder, len(state_dict['level_embed']), len(_inputs(state_dict, 'extra_convs'))
    present = getattr(decoder, 'fine_first', False), len(getattr(decoder, 'input_convs', ()))
    if present != (True, levels) or decoder.num_encoder_levels != levels - extra:
        raise ValueError(
            f"the weights are MMDetection's DINO with {levels} levels, fine to coarse: they fit a Mask "
            f'DINO with num_transformer_feat_level={levels} and pixel_decoder=dict(fine_first=True, '
            f'num_extra_levels={extra})'
        )


def to_openmmlab(state_dict: dict[str, Tensor], head: str = 'panoptic_head') -> dict[str, Tensor]:
    """Weights of MMDetection's DINO under the names of Mask DINO with the same levels, fine to coarse.

    Shared are the backbone, the projections and the encoder, the decoder's layers (the first of Mask DINO's, which has
    more), the choice of tokens, and the embeddings of labels. Where DINO has heads for each layer, those of the last
    become the only ones. The mask layers are new, and learned contents have no counterpart: their number differs.

    DINO's decoder takes the levels fine to coarse, Mask DINO's the other way round: the parameters of each level change
    places here. DINO's positions have another temperature (20, not 10000), which a training has to make up for.

    Args:
        state_dict: weights by name.
        head: attribute of the model that holds the head.

    Raises:
        KeyError: names the keys that DINO does not have.
    """
    shared = {key: state_dict[key] for key in _shared(state_dict)}
    first = 'decoder.ref_point_head.layers.0.'
    boxes = shared.get(f'{first}weight')
    if boxes is not None and boxes.shape[1] != 2 * boxes.shape[0]:  # a fork encodes boxes with twice as many numbers
        shared = {key: value for key, value in shared.items() if not key.startswith(first)}
    return translate_weights(shared, table(state_dict, head, len(state_dict['level_embed'])), SOURCE)


def table(keys: Iterable[str], head: str, levels: int) -> list[Row]:
    """Rows of DINO's names that have a counterpart.

    Args:
        keys: all of DINO's names.
        head: attribute of the model that holds the head.
        levels: feature levels of the deformable attention.
    """

    def reversed_levels(rows: Tensor) -> Tensor:
        """Parameters of a deformable attention, by head, level and point, with the levels in the opposite order."""
        return rows.unflatten(0, (NUM_HEADS, levels, -1)).flip(1).flatten(0, 2)

    reordering = Reordering(reversed_levels, reversed_levels)
    neck, last = len(_inputs(keys, 'convs')), _last_layer(keys)
    rows: list[Row] = [
        ('neck.convs.{i}.{R}', 'pixel_decoder.input_convs.{i}.{R}'),
        ('neck.extra_convs.{i}.{R}', f'pixel_decoder.input_convs.{{i+{neck}}}.{{R}}'),
        ('level_embed', 'pixel_decoder.level_encoding.weight'),
        ('encoder.layers.{R}', 'pixel_decoder.encoder.layers.{R}'),
        *(
            (f'decoder.layers.{{i}}.{name}.{{P}}', f'transformer_decoder.layers.{{i}}.{name}.{{P}}', reordering)
            for name in ('cross_attn.sampling_offsets', 'cross_attn.attention_weights')
        ),
        ('decoder.layers.{R}', 'transformer_decoder.layers.{R}'),
        ('decoder.norm.{R}', 'transformer_decoder.post_norm.{R}'),
        ('decoder.ref_point_head.layers.{i}.{R}', 'transformer_decoder.ref_point_head.{2*i}.{R}'),
        ('memory_trans_fc.{R}', 'memory_trans_fc.{R}'),
        ('memory_trans_norm.{R}', 'memory_trans_norm.{R}'),
        (f'bbox_head.cls_branches.{last}.{{R}}', 'cls_embed.{R}'),
        (f'bbox_head.reg_branches.{last}.{{R}}', 'box_embed.{R}'),
        ('dn_query_generator.label_embedding.weight', 'label_embed.weight'),
    ]
    return [('backbone.{R}', 'backbone.{R}'), *below('', f'{head}.', rows)]


def _inputs(keys: Iterable[str], kind: str) -> set[str]:
    """Numbers of the convolutions that a neck has of a kind."""
    return {key.split('.')[2] for key in keys if key.startswith(f'neck.{kind}.')}


def _last_layer(keys: Iterable[str]) -> int:
    """Number of the decoder's last layer."""
    return max((int(key.split('.')[2]) for key in keys if key.startswith('decoder.layers.')), default=0)


def _shared(keys: Iterable[str]) -> list[str]:
    """The names without the learned contents and the heads of layers before the last."""
    keys = list(keys)
    last = _last_layer(keys)

    def is_left_out(key: str) -> bool:
        branch = re.match(r'bbox_head\.(?:cls|reg)_branches\.(\d+)', key)
        return key == 'query_embedding.weight' or branch is not None and int(branch[1]) != last

    return [key for key in keys if not is_left_out(key)]
