"""The four implementations, in full size, with the same weights, inputs, targets and random points.

Nothing is downloaded: weights are drawn from a seed, scaled so that the queries differ and attention masks are mixed.

Shapes: B images, N objects, H x W the input.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from m2f_mm.criterion import RandomPoints
from m2f_mm.registry import MODELS

THINGS, STUFF = 80, 53  # COCO panoptic
VIDEO_CLASSES = 40  # YouTube-VIS
CHANNELS = (256, 512, 1024, 2048)
THRESHOLDS = dict(object_mask_thr=0.5, iou_thr=0.1, filter_low_score=True)  # keep some segments of a random network
MMDET_CONFIGS = {
    'r50': 'mask2former_r50_8xb2-lsj-50e_coco-panoptic.py',
    'swin-l': 'mask2former_swin-l-p4-w12-384-in21k_16xb1-lsj-100e_coco-panoptic.py',
}
CONFIGS = Path(__file__).parents[1] / 'configs'


def build(model: ConfigDict, scope: str) -> nn.Module:
    """A model from its config, weights as the classes' constructors leave them."""
    with DefaultScope.overwrite_default_scope(scope):
        return MODELS.build(model)


def draw_weights(model: nn.Module, seed: int = 0) -> nn.Module:
    """Seeded weights with which a deep random network still tells its queries and pixels apart."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.state_dict().items():
        if not value.is_floating_point() or name.startswith('data_preprocessor') or not value.dim():
            continue
        noise = torch.randn(value.shape, generator=generator)
        if name.endswith('running_var'):
            value.copy_(1 + 0.1 * noise.abs())
        elif value.dim() == 1:
            value.copy_(0.1 * noise + name.endswith('weight'))
        else:
            value.copy_(noise / value[0].numel() ** 0.5)
    return model


def tell_apart(head: nn.Module) -> None:
    """Queries of a random network end up alike and unsure: make them different and sure of themselves."""
    with torch.no_grad():
        head.query_feat.weight.mul_(30)
        head.query_embed.weight.mul_(30)
        for name, parameter in head.transformer_decoder.named_parameters():
            if name.endswith(('out_proj.weight', 'layers.1.weight')):
                parameter.mul_(0.2)
        head.cls_embed.weight.mul_(4)
        head.cls_embed.bias[-1] -= 4


def same_weights(ours: nn.Module, theirs: nn.Module) -> None:
    """Ours into theirs; both have the same names."""
    missing, unexpected = theirs.load_state_dict(ours.state_dict(), strict=False)
    missing = [name for name in missing if not name.endswith('num_batches_tracked')]
    assert not missing and not unexpected, f'weights differ in {(missing + unexpected)[:5]}'


def mmdet_config(backbone: str) -> ConfigDict:
    """The ``model`` of MMDetection's own COCO panoptic config, as its wheel installed it; nothing dropped at random."""
    import mmdet

    model = Config.fromfile(Path(mmdet.__file__).parent / '.mim/configs/mask2former' / MMDET_CONFIGS[backbone]).model
    model.backbone.init_cfg = None
    if 'drop_path_rate' in model.backbone:
        model.backbone.drop_path_rate = 0.0
    return model


def our_detector(
    queries: int = 100,
    backbone: str = 'r50',
    backbone_options: dict | None = None,
    test_cfg: dict | None = None,
    **head_options,
) -> nn.Module:
    """Ours as the shipped R50 config has it, with COCO's number of classes, and thresholds that keep some segments.

    Args:
        queries: number of queries.
        backbone: 'r50' or 'swin-l'.
        backbone_options, test_cfg, head_options: changed in the config's part of that name.
    """
    import mmdet.models  # noqa: F401

    model = Config.fromfile(CONFIGS / '_base_/models/mask2former_r50.py').model
    if backbone != 'r50':
        stock = mmdet_config(backbone)
        model.backbone = stock.backbone
        model.panoptic_head.in_channels = stock.panoptic_head.in_channels
    model.backbone.update(dict(init_cfg=None) | (backbone_options or {}))
    model.test_cfg.update(dict(panoptic_on=True, instance_on=True) | THRESHOLDS | (test_cfg or {}))
    model.panoptic_head.update(
        dict(num_things_classes=THINGS, num_stuff_classes=STUFF, num_queries=queries) | head_options
    )
    detector = draw_weights(build(model, 'mmdet'))
    tell_apart(detector.panoptic_head)
    return detector


def mmdet_detector(ours: nn.Module, queries: int = 100, backbone: str = 'r50', **test_cfg) -> nn.Module:
    """MMDetection's own, with the weights of ``ours``."""
    import mmdet.models  # noqa: F401

    model = mmdet_config(backbone)
    model.panoptic_head.num_queries = queries
    model.test_cfg.update(THRESHOLDS | test_cfg)
    detector = build(model, 'mmdet')
    same_weights(ours, detector)
    return detector


def our_maskformer() -> nn.Module:
    """Ours as the shipped R50 config has it, with COCO's number of classes and without dropout."""
    import mmdet.models  # noqa: F401

    model = Config.fromfile(CONFIGS / '_base_/models/maskformer_r50.py').model
    model.backbone.init_cfg = None
    head = model.panoptic_head
    head.update(num_things_classes=THINGS, num_stuff_classes=STUFF)
    head.pixel_decoder.dropout = head.transformer_decoder.dropout = 0.0
    return draw_weights(build(model, 'mmdet'))


def mmdet_maskformer(ours: nn.Module) -> nn.Module:
    """MMDetection's own, from its own installed config, without dropout, with the weights of ``ours``."""
    import mmdet

    folder = Path(mmdet.__file__).parent / '.mim/configs/maskformer'
    model = Config.fromfile(folder / 'maskformer_r50_ms-16xb1-75e_coco.py').model
    model.backbone.init_cfg = None
    for layers in (model.panoptic_head.pixel_decoder.encoder, model.panoptic_head.transformer_decoder):
        for part, options in layers.layer_cfg.items():
            options['ffn_drop' if part == 'ffn_cfg' else 'dropout'] = 0.0
    detector = build(model, 'mmdet')
    same_weights(ours, detector)
    return detector


def our_mask_dino(**head_options) -> nn.Module:
    """Ours as the shipped R50 config with four levels has it, with COCO's number of classes."""
    import mmdet.models  # noqa: F401

    model = Config.fromfile(CONFIGS / '_base_/models/mask_dino_r50.py').model
    model.backbone.init_cfg = None
    model.panoptic_head.update(dict(num_things_classes=THINGS, num_stuff_classes=STUFF) | head_options)
    return draw_weights(build(model, 'mmdet'))


def our_video() -> nn.Module:
    """Ours as the shipped R50 config of videos has it, with YouTube-VIS's number of classes. An object that leaves
    keeps its class, results are bitmaps, and all frames go through the backbone together, as MMDetection has it."""
    import mmdet.models  # noqa: F401

    model = Config.fromfile(CONFIGS / '_base_/models/mask2former_r50_video.py').model
    model.backbone.init_cfg = None
    model.track_head.update(num_things_classes=VIDEO_CLASSES, num_stuff_classes=0, last_frame_labels=False)
    model.test_cfg.update(instance_masks='bitmap', frames_at_once=None)
    detector = draw_weights(build(model, 'mmdet'))
    tell_apart(detector.track_head)
    return detector


def mmdet_video(ours: nn.Module, frames: int = 2) -> nn.Module:
    """MMDetection's own, from its own installed config, for training clips of so many frames, with the weights of
    ``ours``."""
    import mmdet

    folder = Path(mmdet.__file__).parent / '.mim/configs/mask2former_vis'
    model = Config.fromfile(folder / 'mask2former_r50_8xb2-8e_youtubevis2019.py').model
    model.init_cfg = model.backbone.init_cfg = None
    model.track_head.num_frames = frames
    detector = build(model, 'mmdet')
    same_weights(ours, detector)
    return detector


def transformers_model(ours: nn.Module, queries: int = 100) -> nn.Module:
    """Hugging Face's, and its weights into ``ours``: the converter knows that direction.

    Its batch norms stay in eval mode and get no gradients, as the frozen ones of the recipe. There is no dropout.

    Raises:
        ImportError: transformers is not installed.
    """
    import transformers

    from m2f_mm.checkpoints.huggingface import to_openmmlab

    backbone = transformers.ResNetConfig(
        embedding_size=64,
        hidden_sizes=list(CHANNELS),
        depths=[3, 4, 6, 3],
        layer_type='bottleneck',
        out_features=['stage1', 'stage2', 'stage3', 'stage4'],
    )
    config = transformers.Mask2FormerConfig(backbone_config=backbone, num_queries=queries, num_labels=THINGS + STUFF)
    theirs = transformers.Mask2FormerForUniversalSegmentation(config).eval()
    assign(
        ours.state_dict(),
        {
            name: value
            for name, value in theirs.state_dict().items()
            if value.is_floating_point() and not name.startswith('criterion.')
        },
        to_openmmlab,
    )
    for name, parameter in theirs.named_parameters():
        parameter.requires_grad_('normalization' not in name)
    return theirs


def assign(source: dict[str, Tensor], theirs: dict[str, Tensor], convert) -> None:
    """Write ``source`` into ``theirs`` through a converter of the other direction, which only renames and joins."""
    numbered, start = {}, 0
    for name, value in theirs.items():  # each element by its number, to see where the converter takes it
        numbered[name] = torch.arange(start, start + value.numel()).view(value.shape)
        start += value.numel()
    flat = torch.zeros(start)
    for name, places in convert(numbered).items():
        flat[places.flatten()] = source[name].flatten()
    for name, value in theirs.items():
        value.copy_(flat[numbered[name].flatten()].view(value.shape))


def our_segmentor(classes: int = 150, keep_logits: bool = False) -> nn.Module:
    """Ours as the shipped R50 config for MMSegmentation has it."""
    import mmdet.models  # noqa: F401
    import mmseg.models  # noqa: F401

    model = Config.fromfile(CONFIGS / '_base_/models/mask2former_r50_mmseg.py').model
    model.backbone.init_cfg = None
    model.decode_head.num_classes = classes
    model.keep_logits = keep_logits
    segmentor = draw_weights(build(model, 'mmseg'))
    tell_apart(segmentor.decode_head)
    return segmentor.eval()


def mmseg_segmentor(ours: nn.Module) -> nn.Module:
    """MMSegmentation's own, from its own installed config, with the weights of ``ours``."""
    import mmdet.models  # noqa: F401
    import mmseg
    import mmseg.models  # noqa: F401

    model = Config.fromfile(
        Path(mmseg.__file__).parent / '.mim/configs/mask2former' / 'mask2former_r50_8xb2-160k_ade20k-512x512.py'
    ).model
    model.backbone.init_cfg = None
    model.backbone.norm_cfg.type = 'BN'  # SyncBN has no CPU version
    segmentor = build(model, 'mmseg')
    same_weights(ours, segmentor)
    return segmentor.eval()


def images(batch: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Normalised images (B, 3, H, W): smooth shapes with noise, not the noise alone that no network ever sees."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(batch, 3, height // 32 + 1, width // 32 + 1, generator=generator)
    smooth = nn.functional.interpolate(coarse, (height, width), mode='bilinear')
    return smooth + 0.1 * torch.randn(batch, 3, height, width, generator=generator)


def segment_map(height: int, width: int, objects: int, seed: int = 0) -> np.ndarray:
    """(H, W) int16, a partition into ``objects`` segments of different sizes, each with some pixels."""
    generator = np.random.RandomState(seed)
    columns = int(np.ceil(objects**0.5))
    rows = int(np.ceil(objects / columns))
    y = np.sort(generator.choice(np.arange(1, 4 * rows), rows - 1, replace=False)) * height // (4 * rows)
    x = np.sort(generator.choice(np.arange(1, 4 * columns), columns - 1, replace=False)) * width // (4 * columns)
    grid = np.searchsorted(y, np.arange(height), 'right')[:, None] * columns + np.searchsorted(
        x, np.arange(width), 'right'
    )
    return np.minimum(grid, objects - 1).astype(np.int16)


def samples(
    batch: int,
    height: int,
    width: int,
    objects: int = 20,
    stuff: int = 4,
    own_loader: bool = False,
    device: str = 'cpu',
) -> list:
    """Annotated data samples as the preprocessor leaves them on ``device``.

    Args:
        batch, height, width: of the images.
        objects: segments per image, ``stuff`` of them stuff (at least one is a thing).
        own_loader: one map of segments, as this package's loader delivers, instead of what MMDetection's does: a
            bitmap of every thing and a semantic map.
    """
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData, PixelData

    result = []
    for index in range(batch):
        segments = segment_map(height, width, objects, index)
        things = max(1, objects - stuff)
        labels = np.concatenate((np.arange(things) * 7 % THINGS, THINGS + np.arange(objects - things)))
        size = (height, width)
        sample = DetDataSample(
            metainfo=dict(
                img_shape=size,
                ori_shape=size,
                batch_input_shape=size,
                pad_shape=size,
                scale_factor=(1.0, 1.0),
                img_path=f'image_{index}.jpg',
            )
        )
        if own_loader:
            sample.gt_segment_map = PixelData(data=torch.from_numpy(segments)[None])
            sample.gt_segments = InstanceData(labels=torch.from_numpy(labels))
        else:
            bitmaps = (segments == np.arange(things)[:, None, None]).astype(np.uint8)
            sample.gt_instances = InstanceData(
                labels=torch.from_numpy(labels[:things]),
                bboxes=torch.zeros(things, 4),
                masks=BitmapMasks(bitmaps, height, width),
            )
            sample.gt_sem_seg = PixelData(sem_seg=torch.from_numpy(labels[segments].astype(np.int64))[None])
        result.append(sample.to(device))
    return result


def clip(frames: int, height: int, width: int, objects: int = 5, device: str = 'cpu') -> list:
    """The same of one clip: objects that move a little from frame to frame, the first of which the last frame
    misses."""
    from mmdet.structures import DetDataSample, TrackDataSample
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData

    segments, size, samples = segment_map(height, width, objects), (height, width), []
    for t in range(frames):
        visible = np.arange(1 if t == frames - 1 else 0, objects)
        bitmaps = (np.roll(segments, 8 * t, 1) == visible[:, None, None]).astype(np.uint8)
        sample = DetDataSample(
            metainfo=dict(
                img_shape=size,
                ori_shape=size,
                batch_input_shape=size,
                pad_shape=size,
                scale_factor=(1.0, 1.0),
                img_path=f'video/{t}.jpg',
            )
        )
        sample.gt_instances = InstanceData(
            labels=torch.from_numpy(visible * 7 % VIDEO_CLASSES),
            masks=BitmapMasks(bitmaps, height, width),
            bboxes=torch.zeros(len(visible), 4),
            instances_ids=torch.from_numpy(visible),
        )
        samples.append(sample)
    result = TrackDataSample()
    result.video_data_samples = samples
    return [result.to(device)]


class FixedPoints(RandomPoints):
    """Draws once, then gives the same points again: to our criterion, and in their order to others' ``torch.rand``."""

    def __init__(self, seed: int = 0):
        self.generator = torch.Generator().manual_seed(seed)
        self.drawn: dict[tuple[str, int], Tensor] = {}

    def _draw(self, kind: str, layer: int, count: int, num_points: int, device: torch.device) -> Tensor:
        known = self.drawn.get((kind, layer))
        if known is None or known.shape != (count, num_points, 2):
            known = torch.rand(count, num_points, 2, generator=self.generator).to(device)
            self.drawn[kind, layer] = known
        return known

    def matching(self, layer: int, batch: int, num_points: int, device: torch.device) -> Tensor:
        return self._draw('matching', layer, batch, num_points, device)

    def candidates(self, layer: int, num_masks: int, num_points: int, device: torch.device) -> Tensor:
        return self._draw('candidates', layer, num_masks, num_points, device)

    def uniform(self, layer: int, num_masks: int, num_points: int, device: torch.device) -> Tensor:
        return self._draw('uniform', layer, num_masks, num_points, device)

    def in_order(self, layers: Iterable[int]) -> Iterator[Tensor]:
        """As other implementations call: layer by layer, first each image's matching, then the points of the loss."""
        for layer in layers:
            yield from self.drawn['matching', layer].split(1)
            yield self.drawn['candidates', layer]
            yield self.drawn['uniform', layer]

    @contextmanager
    def replayed(self, layers: Iterable[int]) -> Iterator[None]:
        """``torch.rand`` gives these points."""
        values = self.in_order(layers)

        def rand(*size, **options) -> Tensor:
            value = next(values)
            expected = tuple(size[0]) if isinstance(size[0], (tuple, list)) else size
            assert value.shape == expected, f'replayed points {tuple(value.shape)}, wanted {expected}'
            return value

        with patch.object(torch, 'rand', rand):
            yield
        assert next(values, None) is None, 'fewer points were drawn than recorded'
