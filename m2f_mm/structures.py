"""What the parts of this package hand to each other: targets, and predictions with lazy masks (``mask_ops``).

Shapes: B images (or clips), T frames (1 for images), Q queries, C classes without the no-object class, D channels of
a mask embedding, N objects of one image, P points, H x W the padded input size, h x w the size of the mask features
(a quarter of H x W).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .bilinear import bilinear_taps
from .boxes import masks_to_boxes
from .deprecation import renamed_attributes
from .mask_ops import dot, mask_logits_from

NO_CLASS = -1  # label of a clip's object whose mask is learned, with no-object as the class target


@dataclass
class SegTargets:
    """Ground truth of one image or clip, whatever the task is called.

    Panoptic segments, instances, the classes of a semantic map and the objects of a clip all become this.

    Args:
        labels: class of each object, int64 (N,), 0 <= label < C; in a clip also ``NO_CLASS``.
        masks: bool (N, H, W), or (N, T, H, W) for a clip; zero in the padding. None where only boxes are known: such an
            image teaches classes and boxes alone.
        boxes: normalised boxes (N, 4) as cx, cy, w, h in 0..1 of the padded input; optional where there are masks.
        name: what to call the image in an error message, usually its path.
    """

    labels: Tensor
    masks: Tensor | None
    boxes: Tensor | None = None
    name: str = ''

    def __post_init__(self):
        where = f' for {self.name}' if self.name else ''
        if self.boxes is not None and self.boxes.shape != (len(self), 4):
            raise ValueError(
                f'SegTargets needs boxes (N, 4) for labels (N,), got boxes {tuple(self.boxes.shape)} and '
                f'labels {tuple(self.labels.shape)}{where}'
            )
        if self.masks is None:
            if self.boxes is None:
                raise ValueError(f'SegTargets needs masks or boxes, got neither{where}')
            return
        if self.masks.dtype != torch.bool:
            raise TypeError(
                f'SegTargets.masks must be bool, got {self.masks.dtype}{where}; compare the map with the ids first'
            )
        if self.masks.dim() not in (3, 4) or self.masks.shape[0] != self.labels.shape[0]:
            raise ValueError(
                f'SegTargets needs masks (N, H, W) or (N, T, H, W) for labels (N,), got masks '
                f'{tuple(self.masks.shape)} and labels {tuple(self.labels.shape)}'
                f'{where}'
            )

    def __len__(self) -> int:
        return self.labels.shape[0]

    def class_targets(self, no_object: int) -> Tensor:
        """Class that the query of each object learns, (N,): its label, ``no_object`` for ``NO_CLASS`` in a clip."""
        if self.masks is None or self.masks.dim() == 3:
            return self.labels
        return torch.where(self.labels == NO_CLASS, no_object, self.labels)

    def with_boxes(self) -> 'SegTargets':
        """The same with boxes: around the masks, where none are given."""
        if self.boxes is not None or self.masks is None:
            return self
        return replace(self, boxes=masks_to_boxes(self.masks))

    @property
    def clip_masks(self) -> Tensor:
        """The masks with a time axis, (N, T, H, W); an image is a clip of one frame. None of them where only boxes are
        known."""
        if self.masks is None:
            return torch.zeros((0, 1, 1, 1), dtype=torch.bool, device=self.labels.device)
        return self.masks if self.masks.dim() == 4 else self.masks[:, None]


@dataclass
class Track:
    """An object of a whole video, or a result.

    Args:
        label: of the class.
        masks: of each frame COCO's compressed RLE, None where the object is not visible.
        score: of a result.
        video: the id of the video.
        crowd: a region that counts neither as true nor as false positive.
    """

    label: int
    masks: Sequence[dict | None]
    score: float = 0.0
    video: int = 0
    crowd: bool = False


@dataclass
class LayerPrediction:
    """Class logits, lazy masks and boxes of one supervised layer.

    The mask logit of query q at a pixel is ``mask_embeds[q] . mask_features[pixel]``, plus a constant of the query
    where the embedding has one channel more than the features. Resizing and sampling are linear in the features, so no
    method here needs the (Q, h, w) masks of all queries (``mask_ops``): pixels are computed only where they are read.

    Args:
        class_logits: (B, Q, C + 1), the last class is no-object; or (B, Q, C) of classes without one.
        mask_embeds: (B, Q, D), or (B, Q, D + 1) with the constants last; None where only boxes are predicted.
        mask_features: (B, T, D, h, w); None where only boxes are predicted.
        boxes: (B, Q, 4) as cx, cy, w, h in 0..1 of the padded input; None where no boxes are predicted.
    """

    class_logits: Tensor
    mask_embeds: Tensor | None = None
    mask_features: Tensor | None = None
    boxes: Tensor | None = None

    def of_queries(self, queries: slice) -> 'LayerPrediction':
        """The same of some of the queries alone."""
        embeds, boxes = (part if part is None else part[:, queries] for part in (self.mask_embeds, self.boxes))
        return LayerPrediction(self.class_logits[:, queries], embeds, self.mask_features, boxes)

    def mask_logits(self, queries: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Masks at the size of the features: per image (n, T, h, w), for ``queries[b]`` (n,) or for all."""
        embeds, features = self.mask_embeds, self.mask_features
        assert embeds is not None and features is not None, 'only boxes are predicted'
        return [
            mask_logits_from(embeds[b] if queries is None else embeds[b, queries[b]], features[b])
            for b in range(embeds.shape[0])
        ]


@dataclass
class MaskPredictions(Sequence[LayerPrediction]):
    """The predictions of all supervised layers, a sequence; the last one is the output of the network.

    Args:
        layers: predictions of the same parts and shapes. Their ``mask_features`` are one tensor, unless a method has
            others for each layer.
        selected: the first layer is the prediction for which a two-stage decoder chose tokens of the encoder.
        denoising: optional, predictions for noised objects, layer by layer.
        groups: of ``denoising``: number of groups of M queries, M the largest number of objects in the batch. Query
            g M + n is object n in group g; an image with fewer objects has queries without one.
        queries: optional, (B, Q, E), the normalised queries behind class logits and embeddings of the output; alike
            for the same object in other clips.
    """

    layers: list[LayerPrediction]
    selected: bool = False
    denoising: 'MaskPredictions | None' = None
    groups: int = 0
    queries: Tensor | None = None

    @classmethod
    def from_lists(
        cls,
        class_logits: Sequence[Tensor],
        mask_embeds: Sequence[Tensor] | None = None,
        mask_features: Tensor | None = None,
        boxes: Sequence[Tensor] | None = None,
        **whole: Any,
    ) -> 'MaskPredictions':
        """Predictions of layers that share their ``mask_features``, from one list for each part.

        Args:
            class_logits: of each layer.
            mask_embeds: of each layer; None where no masks are predicted.
            mask_features: of all layers.
            boxes: of each layer; None where no boxes are predicted.
            **whole: other fields than ``layers``.
        """
        nothing = [None] * len(class_logits)
        layers = zip(class_logits, mask_embeds or nothing, boxes or nothing, strict=True)
        return cls([LayerPrediction(logits, embeds, mask_features, box) for logits, embeds, box in layers], **whole)

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index):
        return self.layers[index]

    @property
    def num_layers(self) -> int:
        """Number of supervised layers."""
        return len(self.layers)

    @property
    def device(self) -> torch.device:
        """Device of the predictions."""
        return self.layers[0].class_logits.device

    @property
    def class_logits(self) -> list[Tensor]:
        """Class logits of each layer."""
        return [layer.class_logits for layer in self.layers]

    @property
    def mask_embeds(self) -> list[Tensor]:
        """Mask embeddings of each layer; empty where only boxes are predicted."""
        return [layer.mask_embeds for layer in self.layers if layer.mask_embeds is not None]

    @property
    def boxes(self) -> list[Tensor] | None:
        """Boxes of each layer; None where no boxes are predicted."""
        boxes = [layer.boxes for layer in self.layers if layer.boxes is not None]
        return boxes or None

    @property
    def mask_features(self) -> Tensor | None:
        """Mask features of the output; those of every layer have this shape. None where only boxes are predicted."""
        return self.layers[-1].mask_features

    def mask_logits(self, layer: int = -1, queries: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Masks of a layer, see ``LayerPrediction``."""
        return self.layers[layer].mask_logits(queries)

    def feature_runs(self) -> list[tuple[Tensor, int]]:
        """Mask features with the number of successive layers that share them: one pair, unless a method has others for
        each layer."""
        runs: list[tuple[Tensor, int]] = []
        for layer in self.layers:
            features = layer.mask_features
            assert features is not None, 'only boxes are predicted'
            if runs and runs[-1][0] is features:
                runs[-1] = features, runs[-1][1] + 1
            else:
                runs.append((features, 1))
        return runs

    @torch.no_grad()
    def samples(self, points: Iterable[Tensor]) -> Iterator[Tensor]:
        """Mask logits of all queries at points that they share, layer after layer, without gradient.

        Args:
            points: for each layer (B, P, 2) as x, y in 0..1 of the padded image, the same for every frame.

        Yields:
            (B, Q, T * P) logits, frame-major.
        """
        pixels = features = None
        for layer, where in zip(self.layers, points):
            assert layer.mask_embeds is not None and layer.mask_features is not None, 'only boxes are predicted'
            if pixels is None or features is not layer.mask_features:
                pixels, features = None, layer.mask_features  # the pixels of the layer before end here
                batch, frames, _, *size = features.shape
                dtype = torch.promote_types(features.dtype, torch.float32)
                pixels = features.to(dtype).permute(0, 1, 3, 4, 2).contiguous().flatten(0, 3)  # (B * T * h * w, D)
                first = torch.arange(batch * frames, device=pixels.device).view(batch, frames, 1, 1)
                first = first * (size[0] * size[1])
            index, factors = (
                torch.stack(parts, -1) for parts in zip(*bilinear_taps(where, (size[0], size[1]), dtype))
            )  # (B, P, 4)
            index = index[:, None] + first  # (B, T, P, 4)
            factors = factors[:, None].expand_as(index)
            sampled = F.embedding_bag(
                index.flatten(0, 2), pixels, mode='sum', per_sample_weights=factors.flatten(0, 2)
            )  # four rows, weighted and added
            covered = factors.sum(-1).flatten(1)[:, None]  # (B, 1, T * P): masks are zero outside, constant and all
            yield dot(layer.mask_embeds.to(dtype), sampled.unflatten(0, (batch, -1)).mT, covered)


__getattr__ = renamed_attributes(
    __name__,
    dict(
        attention_mask='m2f_mm.mask_ops.attention_mask',
        resize_features='m2f_mm.mask_ops.resize_features',
        fold='m2f_mm.mask_ops.fold_projection',
        contract='m2f_mm.mask_ops.mask_logits_from',
        boxes_around='m2f_mm.boxes.masks_to_boxes',
    ),
)
