"""For runs that are compared: points that depend on nothing but their number, and the mean loss of all workers."""

import json
from pathlib import Path

import torch
from mmengine.dist import all_reduce, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from m2f_mm.criterion import RandomPoints


def _fixed(self, layer, rows, num_points, device):
    generator = torch.Generator().manual_seed(1000 * layer + num_points)
    return torch.rand(1, num_points, 2, generator=generator).expand(rows, -1, -1).to(device)


RandomPoints.matching = RandomPoints.candidates = RandomPoints.uniform = _fixed


@HOOKS.register_module()
class WriteLoss(Hook):
    """The loss of the first iteration, averaged over the workers, as JSON; the weights before it beside it."""

    def __init__(self, path):
        self.path = Path(path)

    def before_train(self, runner):
        model = getattr(runner.model, 'module', runner.model)
        if is_main_process():
            torch.save(model.state_dict(), self.path.with_suffix('.pth'))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        loss = outputs['loss'].detach().clone().double()
        all_reduce(loss, op='mean')
        if is_main_process():
            self.path.write_text(json.dumps(loss.item()))
