"""Images of one pixel and of 30,000 on a side through the pipelines and models of our configs: trained on, and
predicted as plain resizes of all masks say."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DATASETS, MODELS, DefaultScope
from PIL import Image

from tests.helpers import small_data
from tests.helpers.tiny_models import fill, step

SIZES = [(1, 1), (1, 2), (60, 1), (3, 2000), (2000, 3), (30000, 1), (1, 30000), (30000, 40)]
each_size = pytest.mark.parametrize('size', SIZES, ids=lambda size: 'x'.join(map(str, size)))


def config(kind, root, monkeypatch):
    pytest.importorskip('mmseg' if kind == 'semantic' else 'mmdet')
    cfg = getattr(small_data, f'{kind}_config')(root, monkeypatch)
    cfg.model.backbone.init_cfg = None
    return cfg


@pytest.fixture(scope='module')
def models():
    return {}


def plain(predictions, padded, image, size):
    """Mask logits (Q, H, W) of the only image by two plain resizes; constants of queries are last in the embeddings."""
    embeds, features = predictions.mask_embeds[-1][0], predictions.mask_features[0, 0]
    masks = torch.einsum('qd,dhw->qhw', embeds[:, : len(features)], features) + embeds[:, len(features) :, None]
    masks = F.interpolate(masks[None], padded, mode='bilinear')
    return F.interpolate(masks[..., : image[0], : image[1]], size, mode='bilinear')[0]


@each_size
@pytest.mark.parametrize('kind', ['instance', 'semantic'])
def test_prediction(kind, size, tmp_path, monkeypatch, models):
    cfg = config(kind, tmp_path, monkeypatch)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        if kind not in models:
            models[kind] = fill(MODELS.build(cfg.model)).eval()
        model, pipeline = models[kind], Compose(cfg.test_dataloader.dataset.pipeline)
    pixels = np.random.RandomState(0).randint(0, 255, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'a.png')
    item = pipeline(dict(img_path=str(tmp_path / 'a.png'), img_id=0, height=size[0], width=size[1]))
    batch = pseudo_collate([item])
    with torch.no_grad():
        [result] = model.test_step(batch)
        data = model.data_preprocessor(pseudo_collate([item]), False)
        head = model.decode_head if kind == 'semantic' else model.panoptic_head
        predictions = head(model.extract_feat(data['inputs']))
    padded, image = data['inputs'].shape[-2:], item['inputs'].shape[1:]
    if kind == 'semantic':
        masks = plain(predictions, padded, padded, padded).sigmoid()
        scores = torch.einsum('qc,qhw->chw', predictions.class_logits[-1][0].softmax(-1)[:, :-1], masks)
        expected = F.interpolate(scores[None, :, : image[0], : image[1]], size, mode='bilinear')[0]
        picked = expected.gather(0, result.pred_sem_seg.data)[0]
        assert picked.shape == size and (expected.amax(0) - picked).abs().max() < 1e-6
        return
    masks = plain(predictions, padded, image, size)
    instances = result.pred_instances
    assert len(instances) and instances.masks.shape[1:] == size
    differing = (instances.masks[:, None] != (masks > 0)[None]) & (masks.abs() > 1e-4)[None]
    assert not differing.flatten(2).any(-1).all(1).any(), 'an instance is the mask of no query'


@pytest.mark.parametrize(
    'kind, size',
    [
        *((kind, size) for kind in ('semantic', 'video') for size in ((1, 1), (2000, 3), (1, 30000))),
        ('instance', (2000, 3)),
        ('instance', (3, 2000)),
        ('panoptic', (30000, 40)),
    ],
    ids=str,
)
def test_training(kind, size, tmp_path, monkeypatch, models):
    make = small_data.coco if kind == 'instance' else getattr(small_data, kind)
    make(tmp_path, 1, **(dict(frames=2) if kind == 'video' else {}), size=size)
    cfg = config(kind, tmp_path, monkeypatch)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        if (kind, 'train') not in models:
            models[kind, 'train'] = fill(MODELS.build(cfg.model)).train()
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
        losses = step(models[kind, 'train'], pseudo_collate([dataset[0], dataset[0]]))
    assert all(loss.isfinite() for loss in losses.values())
