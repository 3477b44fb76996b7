"""Checkpoints of thin models that hold their config, as trainings write them."""

import torch
from mmengine.config import Config

from m2f_mm.apis import config_path
from m2f_mm.apis.models import build_model
from tests.helpers.tiny_models import fill

DETECTOR = 'demo/mask2former_r18_shapes-panoptic.py'
SEGMENTOR = 'demo/mask2former_r18_shapes-semantic.py'


def thin_config(name=DETECTOR):
    """The config of a demo with a backbone, a pixel decoder and a transformer decoder that compute little."""
    cfg = Config.fromfile(config_path(name))
    head = cfg.model.get('panoptic_head') or cfg.model.decode_head
    cfg.model.backbone.update(base_channels=8, stem_channels=8)
    head.update(in_channels=[8, 16, 32, 64], feat_channels=32, out_channels=16, num_queries=12)
    head.pixel_decoder.update(num_layers=1, feedforward_channels=16, num_heads=4)
    head.transformer_decoder.update(num_layers=1, embed_dims=32, num_heads=4, feedforward_channels=16)
    if 'test_cfg' in cfg.model and name == DETECTOR:
        cfg.model.test_cfg.update(object_mask_thr=0.0, iou_thr=0.0, filter_low_score=False)
    return cfg


def write_checkpoint(path, name=DETECTOR, cfg=None):
    """Weights that follow from their names, with the config and the classes in ``meta``."""
    cfg = cfg or thin_config(name)
    model = fill(build_model(cfg))
    classes = cfg.train_dataloader.dataset.metainfo.classes
    meta = dict(cfg=cfg.pretty_text, dataset_meta=dict(classes=classes))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return str(path)
