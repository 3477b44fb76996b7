"""The feature maps that a pixel decoder was built for, out of those that a backbone or neck gives."""

import warnings
from collections.abc import Sequence

from torch import Tensor


def finest_maps(owner: str, feats: Sequence[Tensor], in_channels: Sequence[int | None]) -> list[Tensor]:
    """The finest maps, one for each of ``in_channels``.

    A neck may give more, as ``FPN(num_outs=5)`` does; the coarsest ones are then left out with a warning, as
    MMDetection's decoder does without.

    Args:
        owner: what an error message calls the module that takes the maps.
        feats: maps (B, C, h, w), fine to coarse; a list is shortened in place, so that nothing holds what is left out.
        in_channels: of each map; None for any.

    Raises:
        ValueError: there are fewer maps, or one has other channels; names both numbers.
    """
    feats = feats if isinstance(feats, list) else list(feats)
    count = len(in_channels)
    if len(feats) < count:
        raise ValueError(
            f'{owner} has {count} in_channels, {list(in_channels)}, but gets {len(feats)} feature maps. '
            'Make out_indices of the backbone (or num_outs of the neck) and in_channels of the head agree'
        )
    if len(feats) > count:
        warnings.warn(
            f'{owner} has {count} in_channels, but gets {len(feats)} feature maps: the finest {count} are '
            'taken, the others left out. To use them, give in_channels of the head an entry for each',
            stacklevel=2,
        )
        del feats[count:]
    for level, (feat, channels) in enumerate(zip(feats, in_channels)):
        if channels is not None and feat.shape[1] != channels:
            raise ValueError(
                f'{owner} has in_channels={list(in_channels)}, but feature map {level} (the finest is 0) '
                f'has {feat.shape[1]} channels instead of {channels}. Give the head the channels of the '
                'backbone, or of the neck where there is one'
            )
    return feats
