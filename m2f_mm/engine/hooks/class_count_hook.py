"""Stops a run whose model and data disagree on the number of classes, before its first iteration."""
from mmengine.hooks import Hook
from mmengine.runner import Runner

from m2f_mm.engine.class_counts import data_of, heads_of, require_agreement
from m2f_mm.registry import HOOKS


@HOOKS.register_module()
class ClassCountHook(Hook):
    """Compare the heads' class counts with the built data sets' metainfo; ValueError names both places and values.

    Counts come from ``panoptic_head`` or ``track_head`` (things, stuff) or ``decode_head``, names from ``metainfo``,
    also through data set wrappers. Use it as ``custom_hooks = [dict(type='m2f_mm.ClassCountHook')]``.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        self.check(runner, 'train_dataloader', runner.train_dataloader)
        if runner.val_loop is not None:  # a mistake there would show only after the first epoch
            self.check(runner, 'val_dataloader', runner.val_dataloader)

    def before_val(self, runner: Runner) -> None:
        self.check(runner, 'val_dataloader', runner.val_dataloader)

    def before_test(self, runner: Runner) -> None:
        self.check(runner, 'test_dataloader', runner.test_dataloader)

    def check(self, runner: Runner, place: str, dataloader) -> None:
        require_agreement(heads_of(runner.model), data_of(dataloader.dataset, f'{place}.dataset'))
