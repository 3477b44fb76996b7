"""Tiny per-pixel baselines."""

from tests.helpers.tiny_models import CHANNELS, SEMANTIC_CLASSES, build, mmseg_config


def segmentor(kind='PerPixelSegHead', **options):
    cfg = mmseg_config()
    cfg.type = 'm2f_mm.MaskSegmentor'
    cfg.update(options)
    cfg.decode_head = dict(
        type=f'm2f_mm.{kind}', num_classes=SEMANTIC_CLASSES, in_channels=CHANNELS, feat_channels=32, out_channels=32
    )
    if 'Plus' in kind:
        cfg.decode_head.transformer_decoder = dict(num_layers=2, embed_dims=32, feedforward_channels=16, dropout=0.0)
    return build(cfg, 'mmseg')
