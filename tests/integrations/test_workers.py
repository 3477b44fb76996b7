"""Two workers learn what one learns from the joint batch: the same loss, the same gradients, no worker left waiting."""

import socket
from importlib.util import find_spec

import pytest
import torch
import torch.multiprocessing as processes
from mmengine.model import MMDistributedDataParallel

from tests.helpers.box_models import DETECTOR, without_masks
from tests.helpers.mask_dino_models import detector as mask_dino
from tests.helpers.recorded_random import RecordedPoints
from tests.helpers.tiny_models import (
    build_detector,
    clip_batch,
    detection_batch,
    gradients,
    mmdet_config,
    our_detector,
    step,
    use_our_heads,
)

pytest.importorskip('mmdet')
OBJECTS = {
    (kind, name): counts
    for kind in ('images', 'clips')
    for name, counts in {
        'objects everywhere': (3, 2),
        'a worker without any object': (3, 0),
        'no object at all': (0, 0),
    }.items()
}
# Mask DINO: objects, images that have boxes alone, options. One worker may denoise, or learn masks, and the other not.
MASK_DINO = {
    'denoising everywhere': ((3, 2), (), {}),
    'a worker without any object': ((3, 0), (), {}),
    'no object at all': ((0, 0), (), {}),
    'more objects than the budget': ((2, 9), (), {}),
    'a worker with boxes alone': ((3, 2), (1,), {}),
    'boxes alone': ((3, 2), (0, 1), {}),
    'a detector': ((3, 0), (0,), DETECTOR),
    'no loss of boxes': ((3, 2), (), dict(loss_bbox=dict(loss_weight=0), loss_iou=dict(loss_weight=0))),
    'learned queries': ((3, 0), (), dict(two_stage=False)),
}


# Backbones with frozen stages: MMDetection's and MMSegmentation's Swin freezes them in train() alone.
FROZEN = ('ResNet', 'mmdet', *(['mmseg'] if find_spec('mmseg') else []))


class HalfOfThePoints(RecordedPoints):
    """The points that the joint batch draws, those of one of its two images or clips."""

    def __init__(self, part, counts):
        super().__init__()
        self.part, self.counts = part, counts

    def _draw(self, kind, layer, count, num_points):
        joint = 2 if kind == 'matching' else sum(self.counts)
        sizes = (1, 1) if kind == 'matching' else self.counts
        generator = torch.Generator().manual_seed(100 * layer + ('matching', 'candidates', 'uniform').index(kind))
        values = torch.rand(joint, num_points, 2, generator=generator)
        if self.part is None:
            assert count == joint
            return values
        assert count == sizes[self.part]
        return values.split(sizes)[self.part]


def train(case, part=None):
    """A model and the step's data: both images or clips, or one of them. Stuff is left out, so that a worker can be
    idle."""
    counts, frames = OBJECTS[case], 1 if case[0] == 'images' else 2
    detector, head = our_detector(case[0])
    data = detection_batch(counts, semantic=False) if frames == 1 else clip_batch(frames=frames, objects=counts)
    head.criterion.draw = HalfOfThePoints(part, [count * frames for count in counts])
    if part is not None:
        data = {key: value[part : part + 1] for key, value in data.items()}
    return detector.train(), data


def worker(rank, port, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group('gloo', init_method=f'tcp://127.0.0.1:{port}', rank=rank, world_size=2)
    for case in OBJECTS:
        detector, data = train(case, rank)
        parallel = MMDistributedDataParallel(detector, find_unused_parameters=False)
        for _ in range(2):  # the second step hangs or fails where a parameter was left out of the first
            parallel.zero_grad()
            losses = parallel(**detector.data_preprocessor(data, True), mode='loss')
            sum(losses.values()).backward()
        losses = {term: loss.detach() for term, loss in losses.items()}
        torch.save(dict(losses=losses, gradients=gradients(detector)), f'{folder}/{" ".join(case)} {rank}.pth')
    for name, (counts, boxed, options) in MASK_DINO.items():
        model = mask_dino(0, **{'boxes_from_masks': 'mask2box', **options}).train()
        data = without_masks(detection_batch(counts, semantic=False), *boxed)
        data = {key: value[rank : rank + 1] for key, value in data.items()}
        parallel = MMDistributedDataParallel(model, find_unused_parameters=False)
        for _ in range(2):
            parallel.zero_grad()
            losses = parallel(**model.data_preprocessor(data, True), mode='loss')
            sum(losses.values()).backward()
        torch.save(
            dict(losses={name: loss.detach() for name, loss in losses.items()}, gradients=gradients(model)),
            f'{folder}/mask dino, {name} {rank}.pth',
        )
    for kind in FROZEN:
        model = frozen_detector(kind).train()
        parallel = MMDistributedDataParallel(model, find_unused_parameters=False)
        data = {key: value[rank : rank + 1] for key, value in detection_batch(semantic=False).items()}
        for _ in range(2):
            parallel.zero_grad()
            losses = parallel(**model.data_preprocessor(data, True), mode='loss')
            sum(losses.values()).backward()
        torch.save(gradients(model), f'{folder}/{kind} {rank}.pth')
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def frozen_detector(kind):
    """Ours with a thin backbone of which the first stage does not learn; not yet in training mode."""
    cfg = use_our_heads(mmdet_config())
    cfg.type = 'm2f_mm.Mask2Former'
    if kind == 'ResNet':
        cfg.backbone.frozen_stages = 1
    else:
        cfg.backbone = dict(
            type=f'{kind}.SwinTransformer',
            embed_dims=16,
            depths=(1, 1, 1, 1),
            num_heads=(1, 2, 4, 8),
            window_size=7,
            frozen_stages=1,
        )
    return build_detector(cfg)


def free_port():
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """What two workers computed in every case; they are started once."""
    folder = tmp_path_factory.mktemp('workers')
    processes.spawn(worker, (free_port(), str(folder)), nprocs=2)
    return folder


@pytest.mark.parametrize('case', OBJECTS, ids=' '.join)
def test_two_workers_are_one(case, folder):
    first, second = (torch.load(folder / f'{" ".join(case)} {rank}.pth', weights_only=True) for rank in range(2))
    detector, data = train(case)
    losses = step(detector, data)
    for term, loss in losses.items():
        torch.testing.assert_close((first['losses'][term] + second['losses'][term]) / 2, loss, atol=1e-5, rtol=1e-4)
    floor = 1e-5 * max(gradient.norm() for gradient in gradients(detector).values())
    for parameter, expected in gradients(detector).items():
        assert torch.equal(first['gradients'][parameter], second['gradients'][parameter]), parameter
        error = (first['gradients'][parameter] - expected).norm()
        assert error <= max(1e-3 * expected.norm(), floor), parameter


@pytest.mark.parametrize('name', MASK_DINO)
def test_no_worker_of_mask_dino_waits(name, folder):
    """Whatever one of them has to learn: every parameter has a gradient, the same on both."""
    workers = [torch.load(folder / f'mask dino, {name} {rank}.pth', weights_only=True) for rank in range(2)]
    assert all(loss.isfinite() for worker in workers for loss in worker['losses'].values())
    for worker, count in zip(workers, MASK_DINO[name][0]):
        assert any('dn_' in loss for loss in worker['losses']) == (0 < count <= 7)
    first, second = (worker['gradients'] for worker in workers)
    assert first.keys() == second.keys()
    for parameter, gradient in first.items():
        assert gradient is not None and gradient.isfinite().all(), parameter
        assert torch.equal(gradient, second[parameter]), parameter


@pytest.mark.parametrize('kind', FROZEN)
def test_frozen_stages(kind, folder):
    first, second = (torch.load(folder / f'{kind} {rank}.pth', weights_only=True) for rank in range(2))
    assert first.keys() == second.keys() and len(first) > 100
    assert not any(
        name.startswith(('backbone.conv1', 'backbone.layer1', 'backbone.patch_embed', 'backbone.stages.0'))
        for name in first
    )
    for name, gradient in first.items():
        assert gradient is not None and torch.equal(gradient, second[name]), name
