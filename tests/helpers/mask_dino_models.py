"""Tiny Mask DINO models for both stacks, and the names of their losses."""

from tests.helpers.tiny_models import (
    CHANNELS,
    SEMANTIC_CLASSES,
    STUFF,
    THINGS,
    build,
    mmdet_config,
    mmseg_config,
)

NETWORK = dict(
    in_channels=CHANNELS,
    feat_channels=64,
    out_channels=48,
    num_queries=12,
    pixel_decoder=dict(num_layers=1, num_heads=4, feedforward_channels=96),
    transformer_decoder=dict(num_layers=3, embed_dims=64, num_heads=4, feedforward_channels=96),
)


def detector(stuff=STUFF, test=None, **options):
    cfg = mmdet_config()
    cfg.update(type='m2f_mm.MaskDINO', panoptic_fusion_head=None)
    for padding in (cfg.data_preprocessor, *cfg.data_preprocessor.batch_augments):
        padding.update(pad_mask=False)  # the stock one fails where an image of the batch has no masks
    cfg.panoptic_head = dict(
        type='m2f_mm.MaskDINOHead',
        num_things_classes=THINGS,
        num_stuff_classes=stuff,
        **{**NETWORK, 'denoising_queries': 7, **options},
    )
    cfg.train_cfg = cfg.panoptic_head.pop('train_cfg', dict(num_points=100))
    cfg.test_cfg = dict(
        panoptic_on=bool(stuff),
        instance_on=True,
        semantic_on=options.get('predict_masks', True),
        object_mask_thr=0.2,
        iou_thr=0.0,
        max_per_image=100,
    )
    cfg.test_cfg.update(test or {})
    return build(cfg, 'mmdet')


def segmentor(**options):
    cfg = mmseg_config()
    cfg.type = 'm2f_mm.MaskSegmentor'
    cfg.decode_head = dict(
        type='m2f_mm.MaskDINOSegHead',
        num_classes=SEMANTIC_CLASSES,
        train_cfg=dict(num_points=100),
        **{**NETWORK, **options},
    )
    return build(cfg, 'mmseg')


def names_of(layers, first_denoised=0, masks=True):
    """Every loss of a two-stage model with so many layers."""
    terms = ['loss_cls', 'loss_mask', 'loss_dice', 'loss_bbox', 'loss_iou']
    known = [term for term in terms if masks or term not in ('loss_mask', 'loss_dice')]
    layer = [*(f'd{i}.' for i in range(layers)), '']
    return {f'{i}{term}' for i in ['enc_', *layer] for term in terms} | {
        f'{i}dn_{term}' for i in layer[first_denoised:] for term in known
    }
