"""Instance segmentation from mask predictions (Mask2Former's official inference, for images and clips).

Shapes: Q queries, K results, n masks (a query may appear with several classes), C classes, D mask channels, T frames of
a clip, h x w the mask features, H x W the output.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from m2f_mm.boxes import box_corners, first_last_true

from .classes import SOFTMAX, ClassScores
from .finite import finite_sum, raise_non_finite
from .mask_stores import BitmapStore, RLEStore
from .tiles import Sizes, sigmoid_, tiles

STORES: dict[str, type[BitmapStore] | type[RLEStore]] = dict(bitmap=BitmapStore, rle=RLEStore)


@dataclass
class Instances:
    """K instances of one image, in no particular order.

    Args:
        scores: class probability, times the mean probability of the mask's pixels with ``mask_quality_in_score``, (K,).
        labels: (K,).
        masks: bool (K, H, W), or K RLEs in COCO's compressed form, as pycocotools reads and writes them; None for
            boxes alone.
        boxes: (K, 4) as x0, y0, x1, y1 in output pixels: those that were predicted, which may reach beyond the image,
            or tight around the masks, x1 and y1 exclusive, zero for an empty mask.
    """

    scores: Tensor
    labels: Tensor
    masks: Tensor | list[dict] | None
    boxes: Tensor


def instance_segmentation(
    class_logits: Tensor,
    mask_embeds: Tensor,
    mask_features: Tensor,
    sizes: Sizes,
    max_per_image: int = 100,
    is_thing: Sequence[bool] | Tensor | None = None,
    mask_form: str = 'bitmap',
    tile_bytes: int | None = None,
    classes: ClassScores = SOFTMAX,
    boxes: Tensor | None = None,
    mask_quality_in_score: bool = True,
) -> Instances:
    """The (query, class) pairs with the highest scores, with their masks; a query may appear with several classes.

    The device is waited for once, for the numbers of results and masks, and once more to fetch RLEs.

    Args:
        class_logits: (Q, C + 1) or (Q, C), as ``classes`` reads them.
        mask_embeds: (Q, D).
        mask_features: (1, D, h, w).
        sizes: of padded input, image and output.
        max_per_image: number of pairs; all Q * C where there are fewer.
        is_thing: for each class; pairs of other classes are dropped after the choice. A bool tensor on the device
            of the predictions saves a copy.
        mask_form: 'bitmap' or 'rle', see ``Instances.masks``. RLEs take a bit per pixel while they are made.
        tile_bytes: see ``tiles``.
        classes: what the class logits mean.
        boxes: predicted with the masks, (Q, 4) as cx, cy, w, h in 0..1 of the padded input.
        mask_quality_in_score: multiply the scores by the mean probability of the mask's pixels; without it they are
            the scores of boxes.

    Raises:
        NonFinitePrediction: a prediction is not finite.
        ValueError: there is no such form of masks.
    """
    return next(
        clip_segmentation(
            class_logits,
            mask_embeds,
            mask_features,
            sizes,
            max_per_image,
            is_thing,
            mask_form,
            tile_bytes,
            classes,
            boxes,
            mask_quality_in_score,
        )
    )


def clip_segmentation(
    class_logits: Tensor,
    mask_embeds: Tensor,
    mask_features: Tensor,
    sizes: Sizes,
    max_per_clip: int = 10,
    is_thing: Sequence[bool] | Tensor | None = None,
    mask_form: str = 'bitmap',
    tile_bytes: int | None = None,
    classes: ClassScores = SOFTMAX,
    boxes: Tensor | None = None,
    mask_quality_in_score: bool = False,
) -> Iterator[Instances]:
    """The (query, class) pairs of a clip with the highest scores, frame after frame: row k of every frame is the same
    object, with an empty mask where it is absent.

    The device is waited for once, and once more for each frame to fetch RLEs. The masks of a frame are computed when
    the iterator gets there.

    Args:
        class_logits: (Q, C + 1) or (Q, C), as ``classes`` reads them.
        mask_embeds: (Q, D).
        mask_features: (T, D, h, w).
        sizes: of padded input, image and output.
        max_per_clip: number of pairs; the official code has 10.
        is_thing: see ``instance_segmentation``, which is this function for one frame.
        mask_form: 'bitmap' or 'rle'.
        tile_bytes: see ``tiles``.
        classes: what the class logits mean.
        boxes: see ``instance_segmentation``.
        mask_quality_in_score: see ``instance_segmentation``.

    Raises:
        NonFinitePrediction: a prediction is not finite.
        ValueError: there is no such form of masks.
    """
    if mask_form not in STORES:
        raise ValueError(f'mask_form must be one of {", ".join(STORES)}, got {mask_form!r}')
    parts = {
        'class logits': class_logits,
        'mask embeddings': mask_embeds,
        'mask features': mask_features,
        'boxes': boxes,
    }
    top = topk_instances(classes.instance(class_logits), max_per_clip, is_thing, parts)
    embeds = mask_embeds[top.queries]
    if boxes is not None:
        boxes = output_boxes(boxes[top.queries].float(), sizes)
    for frame in mask_features.split(1):
        store = STORES[mask_form](top.rows, len(top.queries), *sizes.output)
        quality, mask_boxes = rasterize_masks(store, embeds, frame, sizes, tile_bytes)
        scores = top.scores * quality.to(top.scores.dtype)[top.rows] if mask_quality_in_score else top.scores
        yield Instances(scores, top.labels, store.finish(), (mask_boxes if boxes is None else boxes)[top.rows])


def rasterize_masks(
    store: BitmapStore | RLEStore, embeds: Tensor, features: Tensor, sizes: Sizes, tile_bytes: int | None = None
) -> tuple[Tensor, Tensor]:
    """Compute the masks of one frame at output size, and put them into a store.

    Args:
        store: takes them.
        embeds: (n, D).
        features: (1, D, h, w).
        sizes: of padded input, image and output.
        tile_bytes: see ``tiles``.

    Returns:
        Mean probability of each mask's pixels, (n,), and boxes tight around them, (n, 4).
    """
    count, (height, width) = len(embeds), sizes.output
    mass = torch.zeros(count, height, device=embeds.device)  # sums of rows, so that no sum depends on the tiles
    area = torch.zeros(count, height, dtype=torch.int32, device=embeds.device)
    columns = torch.zeros(count, width, dtype=torch.uint8, device=embeds.device)
    for rows, chunk, logits in tiles(embeds, features, sizes, tile_bytes):
        masks = logits > 0
        store.put(chunk, rows, masks)
        area[chunk, rows] = masks.sum(-1, dtype=torch.int32)
        columns[chunk] |= masks.view(torch.uint8).amax(1)
        mass[chunk, rows] = sigmoid_(logits).mul_(masks).sum(-1).to(mass.dtype)
    quality = mass.double().sum(1) / (area.sum(1) + 1e-6)
    return quality, torch.stack((first_last_true(columns > 0), first_last_true(area > 0)), 2).flatten(1).float()


def box_detection(
    class_logits: Tensor,
    boxes: Tensor,
    sizes: Sizes,
    max_per_image: int = 100,
    is_thing: Sequence[bool] | Tensor | None = None,
    classes: ClassScores = SOFTMAX,
) -> Instances:
    """The (query, class) pairs with the highest class probabilities, with their boxes alone.

    Arguments as for ``instance_segmentation``.

    Raises:
        NonFinitePrediction: a prediction is not finite.
    """
    parts = {'class logits': class_logits, 'boxes': boxes}
    top = topk_instances(classes.instance(class_logits), max_per_image, is_thing, parts)
    return Instances(top.scores, top.labels, None, output_boxes(boxes[top.queries].float(), sizes)[top.rows])


class TopInstances(NamedTuple):
    """The K (query, class) pairs with the highest probabilities, and the n queries that occur among them.

    Args:
        scores: probability of each pair, (K,).
        labels: class of each pair, (K,).
        rows: index into ``queries`` of each pair, (K,): its row among the n masks.
        queries: (n,), ascending.
    """

    scores: Tensor
    labels: Tensor
    rows: Tensor
    queries: Tensor


def topk_instances(
    probabilities: Tensor,
    max_per_image: int,
    is_thing: Sequence[bool] | Tensor | None,
    parts: Mapping[str, Tensor | None] | None = None,
) -> TopInstances:
    """The K pairs with the highest probabilities; the device is waited for once.

    Args:
        probabilities: of the pairs, (Q, C).
        max_per_image: see ``instance_segmentation``.
        is_thing: see ``instance_segmentation``.
        parts: predictions that have to be finite; by default the probabilities.

    Raises:
        NonFinitePrediction: a prediction is not finite.
    """
    parts = parts or {'class probabilities': probabilities}
    num_queries, num_classes = probabilities.shape
    scores, index = probabilities.flatten().topk(min(max_per_image, probabilities.numel()), sorted=False)
    labels, queries = index % num_classes, index.div(num_classes, rounding_mode='floor')
    selected = torch.ones_like(labels, dtype=torch.bool)
    if is_thing is not None:
        selected = torch.as_tensor(is_thing, dtype=torch.bool, device=labels.device)[labels]
    used = torch.zeros(num_queries, dtype=torch.uint8, device=labels.device)
    used.scatter_reduce_(0, queries, selected.to(torch.uint8), 'amax')
    count, masks, finite = torch.stack((selected.sum(), used.sum(), finite_sum(*parts.values()).isfinite())).tolist()
    if not finite:
        raise_non_finite(parts)
    selected = (~selected).to(torch.uint8).argsort(stable=True)[:count]
    rows = (used.cumsum(0) - 1)[queries[selected]]
    return TopInstances(scores[selected], labels[selected], rows, (1 - used).argsort(stable=True)[:masks])


def output_boxes(boxes: Tensor, sizes: Sizes) -> Tensor:
    """Boxes (..., 4) as cx, cy, w, h in 0..1 of the padded input to x0, y0, x1, y1 in output pixels."""
    height, width = (padded / image * output for padded, image, output in zip(sizes.padded, sizes.image, sizes.output))
    corners = [side for corner in box_corners(boxes) for side in (corner[..., 0] * width, corner[..., 1] * height)]
    return torch.stack(corners, -1)
