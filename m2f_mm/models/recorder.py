"""Where transformer decoders hand in their queries, layer by layer, and what becomes of them.

Shapes: B images or clips, T frames (1 for images), Q matched queries, G extra queries in front of them, E channels,
D mask channels, h x w the mask features.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from m2f_mm.mask_ops import attention_mask, resize_features
from m2f_mm.structures import LayerPrediction, MaskPredictions

if TYPE_CHECKING:
    from .mask_transformer import MaskNetwork


class Recorder(Protocol):
    """What every transformer decoder is called with.

    Attributes:
        supervised: predictions before the last one are used; otherwise a decoder need not record them.
    """

    supervised: bool

    def record(self, query: Tensor, boxes: Tensor | None = None) -> None:
        """One more prediction; the last one is the output.

        Args:
            query: normalised queries (B, G + Q, E).
            boxes: (B, G + Q, 4) in 0..1, of a decoder that refines boxes.
        """

    def attention_mask(self, query: Tensor, level: int) -> Tensor:
        """Where queries may attend to in the tokens of a level.

        Args:
            query: normalised queries (B, G + Q, E).
            level: index of the memory.

        Returns:
            bool (B, 1, G + Q, K), true where attention is allowed.
        """


class PredictionRecorder:
    """Makes predictions of the recorded queries, with the heads of a network, and attention masks of their masks.

    Extra queries, those of noised objects, are in front of the matched ones; their predictions are kept apart here.

    Args:
        network: has the heads.
        mask_features: (B, T, D, h, w), or None where only boxes are predicted.
        supervised: predictions before the last one are used.
        level_sizes: (height, width) of each memory, for attention masks.
    """

    def __init__(
        self,
        network: 'MaskNetwork',
        mask_features: Tensor | None,
        supervised: bool,
        level_sizes: Sequence[tuple[int, int]] = (),
    ):
        self.network = network
        self.mask_features = mask_features
        self.supervised = supervised
        self.level_sizes = level_sizes
        self.layers: list[LayerPrediction] = []
        self.extra_layers: list[LayerPrediction] = []
        self.num_extra = 0
        self.groups = 0
        self.queries: Tensor | None = None  # the matched ones of the last prediction
        self._level_features: dict[int, Tensor] = {}
        self._embedded: tuple[Tensor, Tensor] | None = None  # queries and their mask embeddings

    def add_extra_queries(self, number: int, groups: int) -> None:
        """From now on the first ``number`` queries are extra ones, in ``groups`` of equal size."""
        self.num_extra, self.groups = number, groups

    def record(self, query: Tensor, boxes: Tensor | None = None, extra: bool = True) -> None:
        """See ``Recorder``; without ``extra``, the predictions of extra queries are dropped."""
        embeds = None if self.mask_features is None else self.mask_embeds(query)
        prediction = LayerPrediction(self.network.cls_embed(query), embeds, self.mask_features, boxes)
        self.queries = query
        if self.num_extra:
            self.queries = query[:, self.num_extra :]
            if extra:
                self.extra_layers.append(prediction.of_queries(slice(self.num_extra)))
            prediction = prediction.of_queries(slice(self.num_extra, None))
        self.layers.append(prediction)

    def attention_mask(self, query: Tensor, level: int) -> Tensor:
        """See ``Recorder``; without gradient and in float32, also inside autocast."""
        if level not in self._level_features:
            assert self.mask_features is not None, 'attention masks are made of masks'
            self._level_features[level] = resize_features(self.mask_features, self.level_sizes[level])
        embeds = self.mask_embeds(query)
        with torch.no_grad(), torch.autocast(embeds.device.type, enabled=False):
            return attention_mask(embeds, self._level_features[level])

    def mask_embeds(self, query: Tensor) -> Tensor:
        """Mask embeddings of normalised queries, see ``LayerPrediction``; those of the last call are kept."""
        if self._embedded is None or self._embedded[0] is not query:
            self._embedded = query, self.network.embed_masks(query)
        return self._embedded[1]

    def predictions(self, selected: bool = False) -> MaskPredictions:
        """All that was recorded.

        Args:
            selected: the first layer is the prediction for which tokens of the encoder were chosen.
        """
        denoising = MaskPredictions(self.extra_layers) if self.num_extra else None
        return MaskPredictions(self.layers, selected, denoising, self.groups, self.queries)
