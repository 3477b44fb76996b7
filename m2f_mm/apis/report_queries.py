"""What queries predict, layer by layer, and where they may attend to.

Shapes: Q queries, C classes, h x w mask features or a memory level, H x W the image as the network gets it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m2f_mm.heads import head_of, unwrapped
from m2f_mm.models.recorder import PredictionRecorder
from m2f_mm.structures import LayerPrediction

from .segmenter import Segmenter

QUERIES = 8  # that are shown of an image
COLOR = (255, 210, 0)  # of outlines, RGB


@dataclass
class LayerView:
    """One query after one layer.

    Args:
        label: its most probable class.
        score: of that class, in 0..1.
        mask: probability of each pixel, float32 (H, W); None where the layer predicts boxes alone.
        attention: where the query may look in the next layer, bool (H, W); None without masked attention.
        everywhere: that mask was empty, so the query looks everywhere.
    """

    label: int
    score: float
    mask: np.ndarray | None
    attention: np.ndarray | None
    everywhere: bool


@dataclass
class QueryView:
    """One query through all layers."""

    number: int
    layers: list[LayerView]


@dataclass
class _Recorded:
    """What a forward pass has left.

    Args:
        recorder: of the predictions.
        attention: for each layer the mask (Q, h, w) of its cross-attention; empty without masked attention.
    """

    recorder: PredictionRecorder | None
    attention: list[Tensor]


@contextmanager
def recorded_layers(head: nn.Module) -> Iterator[_Recorded]:
    """Inside of it, a prediction of the head records every layer, as in training, and the attention masks."""
    kept = _Recorded(None, [])

    def prepare(decoder: nn.Module, args: tuple, kwargs: dict) -> None:
        recorder = next(each for each in (*args, *kwargs.values()) if isinstance(each, PredictionRecorder))
        recorder.supervised, kept.recorder = True, recorder
        make = recorder.attention_mask

        def attention_mask(query: Tensor, level: int) -> Tensor:
            mask = make(query, level)
            kept.attention.append(mask[0, 0].unflatten(-1, recorder.level_sizes[level]))
            return mask

        recorder.attention_mask = attention_mask

    handle = head.transformer_decoder.register_forward_pre_hook(prepare, with_kwargs=True)
    try:
        yield kept
    finally:
        handle.remove()


@torch.no_grad()
def query_views(segmenter: Segmenter, prepared: dict, count: int = QUERIES) -> tuple[np.ndarray, list[QueryView]]:
    """The queries of an image with the highest scores.

    Args:
        segmenter: a model.
        prepared: of ``Segmenter.prepare`` or a data set.
        count: of queries.

    Returns:
        The image as the network gets it, without padding, RGB uint8 (H, W, 3), and the queries, best first.

    Raises:
        ValueError: the model has no queries (a per-pixel baseline).
    """
    model = unwrapped(segmenter.model)
    head = head_of(model)
    if not hasattr(head, 'transformer_decoder'):
        raise ValueError(f'{segmenter.name} has no queries')
    data = model.data_preprocessor(dict(inputs=[prepared['inputs']], data_samples=[prepared['data_samples']]), False)
    inputs = data['inputs']
    with recorded_layers(head) as kept:
        layers = head(model.extract_feat(inputs)).layers
    image = prepared['inputs']
    size, padded = tuple(image.shape[-2:]), tuple(inputs.shape[-2:])
    scores = [_scores(layer, len(segmenter.classes)) for layer in layers]
    chosen = scores[-1].max(-1).values.topk(min(count, len(scores[-1]))).indices
    views = [QueryView(int(number), []) for number in chosen]
    for index, (layer, values) in enumerate(zip(layers, scores)):
        masks = _masks(layer, chosen, padded, size)
        allowed = kept.attention[index][chosen] if index < len(kept.attention) else None
        best, labels = values[chosen].max(-1)
        for row, view in enumerate(views):
            attention = None if allowed is None else _enlarged(allowed[row], padded, size)
            everywhere = allowed is not None and bool(allowed[row].all())
            mask = None if masks is None else masks[row]
            view.layers.append(LayerView(int(labels[row]), float(best[row]), mask, attention, everywhere))
    return _rgb(image, model.data_preprocessor), views


def _scores(layer: LayerPrediction, num_classes: int) -> Tensor:
    """Probabilities (Q, C) of the classes, without no-object."""
    logits = layer.class_logits[0].float()
    return logits.softmax(-1)[:, :num_classes] if logits.shape[-1] > num_classes else logits.sigmoid()


def _masks(layer: LayerPrediction, chosen: Tensor, padded: tuple[int, int], size: tuple[int, int]) -> np.ndarray | None:
    """Probabilities (n, H, W) of the chosen queries' masks."""
    if layer.mask_features is None:
        return None
    logits = layer.mask_logits([chosen])[0][:, 0].float()  # (n, h, w)
    large = F.interpolate(logits[None], padded, mode='bilinear', align_corners=False)[0]
    return large[:, : size[0], : size[1]].sigmoid().cpu().numpy()


def _enlarged(mask: Tensor, padded: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """A mask (h, w) over the padded input as bool (H, W) over the image."""
    large = F.interpolate(mask[None, None].float(), padded, mode='nearest')[0, 0]
    return (large[: size[0], : size[1]] > 0.5).cpu().numpy()


def _rgb(image: Tensor, preprocessor: Any) -> np.ndarray:
    """The input (3, H, W) as RGB uint8 (H, W, 3); a preprocessor that swaps channels gets BGR."""
    pixels = image.permute(1, 2, 0).clamp(0, 255).byte().cpu().numpy()
    swaps = getattr(preprocessor, '_channel_conversion', getattr(preprocessor, 'channel_conversion', False))
    return np.ascontiguousarray(pixels[..., ::-1] if swaps else pixels)


def draw_view(image: np.ndarray, view: LayerView, width: int) -> np.ndarray:
    """The image (H, W, 3) at that width: dark where the query may not look in the next layer, with the outline of its
    mask; where there is no masked attention, dark outside of the mask."""
    height = max(round(image.shape[0] * width / image.shape[1]), 1)
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    inside = None if view.mask is None else cv2.resize(view.mask, (width, height)) > 0.5
    bright = inside
    if view.attention is not None:
        bright = cv2.resize(view.attention.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
    if bright is not None:
        small = np.where(bright[..., None], small, small // 4).astype(np.uint8)
    if inside is not None:
        contours, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        small = np.ascontiguousarray(small)
        cv2.drawContours(small, contours, -1, COLOR, 1)
    return small
