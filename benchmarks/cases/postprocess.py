"""From lazy masks to results at 2160 x 3840: panoptic map, instances, semantic map.

Input is what the last decoder layer gives: class logits, mask embeddings, and mask features at a quarter of the padded
size. Peer: MMDetection's head and ``MaskFormerFusionHead``, which make the masks of all queries, resize them to the
padded size and work on those; it knows no semantic map. Equal: panoptic map and instances, but for one pixel in a
thousand. Targets: all three tasks with 100 queries at most 0.6 GiB, with 1000 queries at most 1.3 times as much, both
with instances as run-length codes; the row that is compared with the peer has bitmaps on both sides.
"""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks import peers
from benchmarks.harness import Row, Scale, available_memory, compare, left_out, peak_memory
from benchmarks.prediction import equal_instances, equal_panoptic

THRESHOLDS = dict(panoptic_on=True, instance_on=True, object_mask_thr=0.8, iou_thr=0.1, filter_low_score=True)
GIB = 2**30
LIMIT = 0.6 * GIB
MANY = 1.3  # times the memory of 100 queries that 1000 may take


def rows(scale: Scale) -> Iterator[Row]:
    height, width = (270, 480) if scale.quick else (2160, 3840)
    size = f'{height} x {width}'
    inputs = random_predictions(100, height, width, scale.device)
    yield from against_mmdet(inputs, scale, height, width)
    peaks = {}
    for queries in (100, 1000):
        given = random_predictions(queries, height, width, scale.device)
        peaks[queries] = peak_memory(
            partial(our_results, our_fusion_head(semantic_on=True, instance_masks='rle'), given, height, width)
        )
        del given
    yield Row('postprocess', f'all tasks, {size}, 100 queries', 'memory', '', peaks[100], limit=LIMIT)
    yield Row(
        'postprocess',
        f'all tasks, {size}, 1000 queries',
        'memory',
        'ours with 100 queries',
        peaks[1000],
        peaks[100],
        target=MANY,
    )


def against_mmdet(inputs: tuple[Tensor, Tensor, Tensor], scale: Scale, height: int, width: int) -> list[Row]:
    part = f'panoptic and instances, {height} x {width}, 100 queries'
    need = 6 * 100 * height * width * 4
    if scale.device == 'cpu' and available_memory() < need:
        return [
            left_out('postprocess', part, metric, 'mmdet', f'needs {need / GIB:.0f} GiB of free memory')
            for metric in scale.metrics
        ]

    def equal(ours: dict, theirs: dict) -> str:
        return (
            equal_panoptic(ours['pan_results'].sem_seg, theirs['pan_results'].sem_seg)
            + ', '
            + equal_instances(ours['ins_results'], theirs['ins_results'])
        )

    return compare(
        'postprocess',
        part,
        'mmdet',
        partial(our_results, our_fusion_head(), inputs, height, width),
        partial(their_results, their_fusion_head(), inputs, height, width),
        equal,
        metrics=scale.metrics,
        repeats=1,
    )


def random_predictions(queries: int, height: int, width: int, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Class logits (1, Q, C + 1), mask embeddings (1, Q, D) and features (1, D, h, w) with blobs of many sizes; of
    every hundred queries forty are sure of a class."""
    generator = torch.Generator().manual_seed(0)
    quarter = [-(-side // 32) * 8 for side in (height, width)]
    coarse = torch.randn(1, 256, 12, 20, generator=generator)
    features = nn.functional.interpolate(coarse, quarter, mode='bicubic')
    embeds = torch.randn(1, queries, 256, generator=generator) / 4
    classes = torch.randint(0, peers.THINGS + peers.STUFF, (queries,), generator=generator)
    logits = torch.randn(1, queries, peers.THINGS + peers.STUFF + 1, generator=generator)
    logits[0, torch.arange(queries), classes] += torch.where(torch.arange(queries) % 5 < 2, 12.0, 0.0)
    return logits.to(device), embeds.to(device), features.to(device)


def sample(height: int, width: int):
    from mmdet.structures import DetDataSample

    padded = tuple(-(-side // 32) * 32 for side in (height, width))
    return DetDataSample(metainfo=dict(img_shape=(height, width), ori_shape=(height, width), batch_input_shape=padded))


def our_fusion_head(**options) -> nn.Module:
    from m2f_mm.integrations.mmdet import MaskFormerFusionHead

    return MaskFormerFusionHead(peers.THINGS, peers.STUFF, test_cfg=THRESHOLDS | options)


def their_fusion_head() -> nn.Module:
    from mmdet.models.seg_heads.panoptic_fusion_heads import MaskFormerFusionHead

    return MaskFormerFusionHead(peers.THINGS, peers.STUFF, test_cfg=THRESHOLDS)


def our_results(fusion: nn.Module, inputs: tuple[Tensor, Tensor, Tensor], height: int, width: int) -> dict:
    from m2f_mm.integrations.mmdet import LazyMasks
    from m2f_mm.structures import MaskPredictions

    logits, embeds, features = inputs
    target = sample(height, width)
    masks = LazyMasks(MaskPredictions.from_lists([logits], [embeds], features[:, None]), target.batch_input_shape)
    return fusion.predict(logits, masks, [target], rescale=True)[0]


@torch.no_grad()
def their_results(fusion: nn.Module, inputs: tuple[Tensor, Tensor, Tensor], height: int, width: int) -> dict:
    """What their head does with the last layer, then their fusion head."""
    logits, embeds, features = inputs
    target = sample(height, width)
    masks = torch.einsum('bqc,bchw->bqhw', embeds, features)
    masks = nn.functional.interpolate(masks, target.batch_input_shape, mode='bilinear', align_corners=False)
    return fusion.predict(logits, masks, [target], rescale=True)[0]
