"""Stops a run whose model and data disagree, or whose annotations are wrong, before its first iteration."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from m2f_mm.datasets.faults import raise_faults
from m2f_mm.datasets.inspection import dataset_faults
from m2f_mm.engine.class_counts import data_of, heads_of, require_agreement
from m2f_mm.engine.ignored_label import use_one_ignored_label
from m2f_mm.registry import HOOKS


@HOOKS.register_module()
class ClassCountHook(Hook):
    """Compare the heads' classes with the built data sets' metainfo; ValueError names both places and values.

    Numbers, and names where the head has a metainfo, come from ``panoptic_head``, ``track_head`` or ``decode_head``,
    those of the data from ``metainfo``, also through data set wrappers. Of segmentors, data sets, metric and padding
    take the ignored label of the head, see ``use_one_ignored_label``. Annotations, up to 500 label maps and the headers
    of up to 20,000 images of each data set are looked at, see ``inspection.dataset_faults``. Metrics that have
    annotation files of their own, ours, compare them with the data set.

    Use it as ``custom_hooks = [dict(type='m2f_mm.ClassCountHook')]``.
    """

    priority = 'VERY_HIGH'

    def __init__(self):
        self._checked: set[str] = set()  # places; validation comes again and again

    def before_train(self, runner: Runner) -> None:
        """Check what the training and its validation read."""
        self.check(runner, 'train_dataloader', runner.train_dataloader)
        if runner.val_loop is not None:  # a mistake there would show only after the first epoch
            self.before_val(runner)

    def before_val(self, runner: Runner) -> None:
        """Check what the validation reads."""
        self.check(runner, 'val_dataloader', runner.val_dataloader, getattr(runner.val_loop, 'evaluator', None))

    def before_test(self, runner: Runner) -> None:
        """Check what the test reads."""
        loop = getattr(runner, 'test_loop', None)
        self.check(runner, 'test_dataloader', runner.test_dataloader, getattr(loop, 'evaluator', None))

    def check(self, runner: Runner, place: str, dataloader: Any, evaluator: Any = None) -> None:
        """Check a loader and the metrics of an evaluator; ``place`` is what messages call the loader."""
        require_agreement(heads_of(runner.model), data_of(dataloader.dataset, f'{place}.dataset'))
        use_one_ignored_label(
            runner.model,
            dataloader.dataset,
            f'{place}.dataset',
            getattr(evaluator, 'metrics', ()),
            training=place == 'train_dataloader',
        )
        if place not in self._checked:
            self._checked.add(place)
            raise_faults(dataset_faults(dataloader.dataset, everything=False))
            for metric in getattr(evaluator, 'metrics', ()):
                if hasattr(metric, 'check_dataset') and hasattr(dataloader.dataset, 'get_data_info'):
                    metric.check_dataset(dataloader.dataset)
