"""Thin versions of the stacks' own Mask2Former configs, data for them, and weights drawn by name.

Shared by the tests of several folders; imports mmdet and mmseg only where they are asked for.
"""

import zlib
from pathlib import Path

import numpy as np
import torch

CHANNELS = [16, 32, 64, 128]  # of the thin R50's four features
WIDTH = 64  # of pixel decoder and transformer decoder
MASK_WIDTH = 48


def draw(name, shape, dtype=torch.float32):
    """A tensor that depends on its name alone (the recipe with which the official numbers were recorded)."""
    values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith('running_var'):
        values = 1 + 0.1 * np.abs(values)
    elif len(shape) == 1:
        values = 0.1 * values + (1 if name.endswith('weight') else 0)
    else:
        values = values / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(values)).to(dtype)


def fill(model):
    """Give every floating parameter and buffer of a state dict the value that belongs to its name."""
    state = {
        name: draw(name, tuple(value.shape))
        for name, value in model.state_dict().items()
        if value.is_floating_point() and value.dim() > 0 and not name.startswith('criterion.')
    }
    model.load_state_dict(state, strict=False)
    return model


def thin_head(head, num_classes):
    """Change a stock ``Mask2FormerHead`` config in place, sizes only."""
    head.update(in_channels=CHANNELS, feat_channels=WIDTH, out_channels=MASK_WIDTH, num_queries=20)
    head.positional_encoding.num_feats = head.pixel_decoder.positional_encoding.num_feats = WIDTH // 2
    encoder, decoder = head.pixel_decoder.encoder, head.transformer_decoder
    encoder.num_layers, decoder.num_layers = 1, 4
    for attention in (
        encoder.layer_cfg.self_attn_cfg,
        decoder.layer_cfg.self_attn_cfg,
        decoder.layer_cfg.cross_attn_cfg,
    ):
        attention.update(embed_dims=WIDTH, num_heads=4)
    for layer in (encoder.layer_cfg, decoder.layer_cfg):
        layer.ffn_cfg.update(embed_dims=WIDTH, feedforward_channels=96)
    head.loss_cls.class_weight = [1.0] * num_classes + [0.1]


def thin_backbone(backbone):
    backbone.update(base_channels=4, stem_channels=8, init_cfg=None)


def stock_config(package, name):
    """A config as the package's wheel installed it."""
    from mmengine.config import Config

    return Config.fromfile(Path(package.__file__).parent / '.mim' / 'configs' / name)


THINGS, STUFF = 4, 4


def mmdet_config():
    """The ``model`` of mmdet's Mask2Former R50 COCO panoptic config, thin."""
    import mmdet

    model = stock_config(mmdet, 'mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py').model
    thin_backbone(model.backbone)
    thin_head(model.panoptic_head, THINGS + STUFF)
    for head in (model.panoptic_head, model.panoptic_fusion_head):
        head.update(num_things_classes=THINGS, num_stuff_classes=STUFF)
    model.train_cfg.num_points = 100
    model.data_preprocessor.batch_augments[0].size = (96, 128)
    model.test_cfg.update(object_mask_thr=0.5, iou_thr=0.05, max_per_image=30)
    return model


def video_config():
    """The ``model`` of mmdet's Mask2Former R50 YouTube-VIS config, thin."""
    import mmdet

    model = stock_config(mmdet, 'mask2former_vis/mask2former_r50_8xb2-8e_youtubevis2019.py').model
    model.init_cfg = None
    thin_backbone(model.backbone)
    thin_head(model.track_head, THINGS)
    model.track_head.num_classes = THINGS
    model.track_head.train_cfg.num_points = 100
    return model


def use_our_track_head(model, last_frame_labels=True):
    """The lines that an existing video project changes; the number of frames is the data's."""
    model.type = 'm2f_mm.Mask2FormerVideo'
    model.track_head.update(type='m2f_mm.Mask2FormerTrackHead', num_frames=None, last_frame_labels=last_frame_labels)
    return model


def maskformer_config(encoder=True):
    """The ``model`` of mmdet's MaskFormer R50 COCO panoptic config, thin and without dropout; the pixel decoder with
    its encoder or the plain FPN."""
    import mmdet

    model = stock_config(mmdet, 'maskformer/maskformer_r50_ms-16xb1-75e_coco.py').model
    thin_backbone(model.backbone)
    head = model.panoptic_head
    thin_maskformer_head(head, THINGS + STUFF, encoder)
    for part in (head, model.panoptic_fusion_head):
        part.update(num_things_classes=THINGS, num_stuff_classes=STUFF)
    model.test_cfg.update(object_mask_thr=0.0, iou_thr=0.0)
    return model


def thin_maskformer_head(head, num_classes, encoder):
    """Change a stock ``MaskFormerHead`` config in place, sizes and dropout only; another pixel decoder if asked for."""
    head.update(in_channels=CHANNELS, feat_channels=WIDTH, out_channels=WIDTH, num_queries=20)
    head.positional_encoding.num_feats = WIDTH // 2
    layers = [head.transformer_decoder]
    if encoder:
        layers.append(head.pixel_decoder.encoder)
        head.pixel_decoder.positional_encoding.num_feats = WIDTH // 2
    else:
        head.pixel_decoder = dict(type='mmdet.PixelDecoder', norm_cfg=dict(type='GN', num_groups=32))
    for part in layers:
        part.num_layers = 3
        for name, attention in part.layer_cfg.items():
            if name == 'ffn_cfg':
                attention.update(embed_dims=WIDTH, feedforward_channels=96, ffn_drop=0.0)
            else:
                attention.update(embed_dims=WIDTH, num_heads=4)
                attention.update({key: 0.0 for key in ('dropout', 'attn_drop', 'proj_drop') if key in attention})
    head.loss_cls.class_weight = [1.0] * num_classes + [0.1]


def use_our_heads(model):
    """The two lines that an existing MMDetection project changes."""
    model.panoptic_head.type = f'm2f_mm.{model.panoptic_head.type}'
    model.panoptic_fusion_head.type = 'm2f_mm.MaskFormerFusionHead'
    return model


def build(model, scope):
    """The model of a config of MMDetection or MMSegmentation, filled."""
    from mmengine.registry import MODELS, DefaultScope

    with DefaultScope.overwrite_default_scope(scope):
        return fill(MODELS.build(model))


def tell_apart(head):
    """Queries of a random network end up alike and see nothing: make them different and sure of themselves."""
    with torch.no_grad():
        head.query_embed.weight.mul_(30)
        learned = hasattr(head, 'query_feat')  # otherwise what queries see is all that tells them apart
        if learned:
            head.query_feat.weight.mul_(30)
        for name, parameter in head.transformer_decoder.named_parameters():
            if learned and name.endswith(('out_proj.weight', 'layers.1.weight')):
                parameter.mul_(0.2)
        head.cls_embed.weight.mul_(4)
        head.cls_embed.bias[-1] -= 4


def our_detector(kind):
    """Ours for 'images' or 'clips', and its head."""
    if kind == 'images':
        detector = build_detector(use_our_heads(mmdet_config()))
        return detector, detector.panoptic_head
    detector = build_detector(use_our_track_head(video_config()))
    return detector, detector.track_head


def build_detector(model):
    import mmdet.models  # noqa: F401

    detector = build(model, 'mmdet')
    tell_apart(detector.panoptic_head if 'panoptic_head' in model else detector.track_head)
    return detector


def detection_batch(objects=(3, 2), semantic=True, sizes=((90, 120), (80, 128))):
    """What mmdet's pipeline hands to the model: uint8 images, instances with bitmap masks, a semantic map."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData, PixelData

    generator = np.random.RandomState(0)
    inputs, samples = [], []
    for index, (count, (height, width)) in enumerate(zip(objects, sizes)):
        masks = np.zeros((count, height, width), np.uint8)
        for mask in masks:
            top, left = generator.randint(0, height - 30), generator.randint(0, width - 30)
            mask[top : top + generator.randint(5, 30), left : left + generator.randint(5, 30)] = 1
        labels = torch.from_numpy(generator.randint(0, THINGS, count))
        sample = DetDataSample(
            metainfo=dict(
                img_shape=(height, width),
                ori_shape=(height * 3 // 4, width * 3 // 4),
                img_path=f'image_{index}.jpg',
                scale_factor=(4 / 3, 4 / 3),
            )
        )
        sample.gt_instances = InstanceData(
            labels=labels, masks=BitmapMasks(masks, height, width), bboxes=torch.zeros(count, 4)
        )
        if semantic:
            stuff = np.full((height, width), THINGS, np.int64)
            stuff[height // 2 :] = THINGS + 2
            stuff[:, :10] = 255
            for mask, label in zip(masks, labels):
                stuff[mask.astype(bool)] = int(label)
            sample.gt_sem_seg = PixelData(sem_seg=torch.from_numpy(stuff)[None])
        inputs.append(torch.from_numpy(generator.randint(0, 256, (3, height, width), np.uint8)))
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def clip_batch(clips=2, frames=2, size=(64, 96), objects=3):
    """What a video pipeline hands to the model: uint8 frames, and objects with ids, of which the first is not seen in
    the last frame and the last not in the first. ``objects`` is the number in each clip, or one for each."""
    from mmdet.structures import DetDataSample, TrackDataSample
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData

    height, width = size
    generator = np.random.RandomState(0)
    inputs, samples = [], []
    for index, count in enumerate([objects] * clips if isinstance(objects, int) else objects):
        labels = torch.from_numpy(generator.randint(0, THINGS, count))
        clip = TrackDataSample()
        frame_samples = []
        for t in range(frames):
            visible = [i for i in range(count) if frames == 1 or (i or t < frames - 1) and (i < count - 1 or t)]
            masks = np.zeros((len(visible), height, width), np.uint8)
            for mask, i in zip(masks, visible):
                mask[10 * i : 10 * i + 20, 8 * i + 4 * t : 8 * i + 4 * t + 24] = 1
            sample = DetDataSample(
                metainfo=dict(
                    img_shape=size,
                    ori_shape=(height * 3 // 4, width * 3 // 4),
                    img_path=f'video_{index}/{t}.jpg',
                    frame_id=t,
                    video_id=index,
                    video_length=frames,
                    ori_video_length=frames,
                )
            )
            sample.gt_instances = InstanceData(
                labels=labels[visible],
                masks=BitmapMasks(masks, height, width),
                bboxes=torch.zeros(len(visible), 4),
                instances_ids=torch.tensor(visible, dtype=torch.int32),
            )
            frame_samples.append(sample)
        clip.video_data_samples = frame_samples
        inputs.append(torch.from_numpy(generator.randint(0, 256, (frames, 3, height, width), np.uint8)))
        samples.append(clip)
    return dict(inputs=inputs, data_samples=samples)


SEMANTIC_CLASSES = 7


def mmseg_config():
    """The ``model`` of mmseg's Mask2Former R50 ADE20K config, thin."""
    import mmseg

    model = stock_config(mmseg, 'mask2former/mask2former_r50_8xb2-160k_ade20k-512x512.py').model
    thin_backbone(model.backbone)
    model.backbone.norm_cfg.type = 'BN'  # SyncBN has no CPU version
    model.data_preprocessor.size = (64, 96)
    thin_head(model.decode_head, SEMANTIC_CLASSES)
    model.decode_head.num_classes = SEMANTIC_CLASSES
    model.decode_head.train_cfg.num_points = 100
    return model


def build_segmentor(model):
    import mmseg.models  # noqa: F401

    segmentor = build(model, 'mmseg')
    tell_apart(segmentor.decode_head)
    return segmentor


def semantic_batch(sizes=((64, 96), (64, 96)), ignore_everything=False):
    """What mmseg's pipeline hands to the model."""
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    generator = np.random.RandomState(1)
    inputs, samples = [], []
    for index, (height, width) in enumerate(sizes):
        labels = generator.randint(0, SEMANTIC_CLASSES, (4, 4)).repeat(height // 4, 0).repeat(width // 4, 1)
        labels = np.pad(labels, ((0, height - labels.shape[0]), (0, width - labels.shape[1])), constant_values=255)
        labels[:5] = 255
        if ignore_everything:
            labels[:] = 255
        sample = SegDataSample(
            metainfo=dict(
                img_shape=(height, width), ori_shape=(height * 2 // 3, width * 2 // 3), img_path=f'image_{index}.jpg'
            )
        )
        sample.gt_sem_seg = PixelData(data=torch.from_numpy(labels)[None])
        inputs.append(torch.from_numpy(generator.randint(0, 256, (3, height, width), np.uint8)))
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def step(model, data):
    """Preprocess, forward and backward as a training loop does; the losses by name."""
    model.zero_grad()
    losses = model(**model.data_preprocessor(data, True), mode='loss')
    sum(losses.values()).backward()
    return losses


def gradients(model):
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}


def assert_close(actual, expected, tolerance, what=''):
    """Largest difference within ``tolerance`` of the expected tensor's, or number's, largest value."""
    expected = torch.as_tensor(expected).detach()
    assert actual.shape == expected.shape, f'{what}: {tuple(actual.shape)} is not {tuple(expected.shape)}'
    if expected.numel():
        error = (actual.detach().double() - expected.double()).abs().max().item()
        bound = tolerance * expected.abs().max().item()
        assert error <= bound, f'{what}: off by {error:.3g}, allowed {bound:.3g}'


def assert_same_gradients(model, witness, tolerance=1e-3):
    """Every gradient, against its own norm or, where that is nothing but rounding, the largest norm."""
    mine, theirs = gradients(model), gradients(witness)
    assert mine.keys() == theirs.keys()
    floor = 1e-5 * max(gradient.norm() for gradient in theirs.values())
    for name, expected in theirs.items():
        assert mine[name] is not None and expected is not None, name
        error = (mine[name] - expected).norm()
        assert error <= max(tolerance * expected.norm(), floor), f'{name}: {error} of {expected.norm()}'
