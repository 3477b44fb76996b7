"""Checkpoints from which a training always goes on, as if it had not been interrupted."""

import hashlib
import os.path as osp
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size, is_main_process
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmengine.runner.checkpoint import _load_checkpoint, save_checkpoint

from m2f_mm.engine.random_states import RestoringIterator, random_states, set_random_states
from m2f_mm.engine.resume import POINTER, checkpoint_folder, newest_checkpoint
from m2f_mm.engine.whole_files import PARTIAL, WHOLE, WholeFiles
from m2f_mm.registry import HOOKS

RANDOM_STATES = 'random_states'  # of all workers, in a checkpoint


class LateRemovals:
    """A file backend whose files are removed when ``remove_now`` is called."""

    def __init__(self, backend: Any):
        self.backend = backend
        self.removals: list[tuple[Any, str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def remove(self, path: str) -> None:
        """Note a file that is to be removed."""
        self.removals.append((self.backend.remove, path))

    def rmtree(self, path: str) -> None:
        """Note a folder that is to be removed."""
        self.removals.append((self.backend.rmtree, path))

    def remove_now(self, protected: Sequence[str]) -> None:
        """Remove what was noted, but for the protected paths."""
        for remove, path in self.removals:
            if path not in protected:
                remove(path)


@HOOKS.register_module()
class CheckpointHook(MMEngineCheckpointHook):
    """MMEngine's hook, with the same options, which

    - writes local files whole or not at all, and removes old ones when the new one is there;
    - saves no weights that are not finite, but stops the training and keeps the last good checkpoint;
    - lets ``resume=True`` go on from the newest checkpoint that can be read, wherever the work directory was moved;
    - saves the states of the random generators of all workers, and sets them on resuming. Validation does not change
      them, so that a resumed training, which does not repeat it, draws what an uninterrupted one draws. Processes of
      data loaders have generators of their own: with ``num_workers > 0`` they start anew where MMEngine passes over the
      data without loading them (its newer releases), so that the data come in the same order, but with other
      augmentations. With ``accumulative_counts``, equality needs an ``interval`` that is a multiple of it.
    """

    _states: list | None = None  # of all workers, to be saved
    _resumed: list | None = None  # of all workers, to be set
    _before_val: dict | None = None  # of this worker while it validates
    _good: str | None = None  # the last checkpoint that was saved

    def before_run(self, runner: Runner) -> None:
        """As the stock method, with the newest checkpoint that can be read."""
        if getattr(runner, '_resume', False) and getattr(runner, '_load_from', None) is None:
            newest = newest_checkpoint(
                runner.work_dir, checkpoint_folder(runner.work_dir, self.out_dir), self.filename_tmpl
            )
            runner._load_from = newest and newest.path

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep the random states of the checkpoint."""
        self._resumed = checkpoint.get(RANDOM_STATES)

    def before_train(self, runner: Runner) -> None:
        """Write whole files from now on; files that a killed run left half written are removed."""
        super().before_train(runner)
        if runner.iter > 0:
            self._good = getattr(runner, '_load_from', None)
        self._odd = {name.removeprefix('module.') for name, value in runner.model.named_buffers() if not finite(value)}
        if not isinstance(getattr(self.file_backend, 'client', self.file_backend), LocalBackend):
            return
        self.file_client_args, self.backend_args = None, dict(backend=WHOLE)
        self.file_backend = WholeFiles()
        if is_main_process():
            for partial in Path(self.out_dir).glob(PARTIAL.format(f'*{self.filename_tmpl.format("*")}')):
                partial.unlink(missing_ok=True)  # of a run that was killed
        # The best ones lie beside the others, wherever the run that is resumed had its work directory
        if getattr(self, 'best_ckpt_path', None):
            self.best_ckpt_path = osp.join(self.out_dir, osp.basename(self.best_ckpt_path))
        for key, path in getattr(self, 'best_ckpt_path_dict', {}).items():
            self.best_ckpt_path_dict[key] = path and osp.join(self.out_dir, osp.basename(path))

    def before_train_epoch(self, runner: Runner) -> None:
        """Set the random states of the checkpoint that is resumed from."""
        states, self._resumed = self._resumed, None
        loop = runner.train_loop
        if states is None or (loop.iter == 0 and loop.epoch == 0):  # weights to start from
            return
        if len(states) != get_world_size():
            runner.logger.warning(
                f'The checkpoint is of {len(states)} workers, this run has {get_world_size()}: the '
                'random generators start anew'
            )
            return
        mine = states[get_rank()]
        batches = getattr(loop, 'dataloader_iterator', None)
        if batches is None:
            set_random_states(mine)
            return

        def restore():
            set_random_states(mine)
            loop.dataloader_iterator = batches

        skipped = 0 if hasattr(batches, 'skip_iter') else loop.iter
        loop.dataloader_iterator = RestoringIterator(batches, skipped, restore)

    def before_val(self, runner: Runner) -> None:
        """Keep the random states of the training."""
        self._before_val = random_states()

    def after_val(self, runner: Runner) -> None:
        """Go on with the random states of the training."""
        set_random_states(self._before_val)
        self._before_val = None

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """
        Raises:
            FloatingPointError: weights, or their averages, are not finite; names them.
        """
        wrong = [
            name
            for kind in ('state_dict', 'ema_state_dict')
            for name, value in checkpoint.get(kind, {}).items()
            if not finite(value) and name.removeprefix('module.') not in self._odd
        ]
        if wrong:
            last = f'The last good checkpoint is {self._good}' if self._good else 'None was saved before by this run'
            raise FloatingPointError(
                f'{len(wrong)} of the weights are not finite after iteration {runner.iter + 1} '
                f'({", ".join(wrong[:3])}{", ..." if len(wrong) > 3 else ""}): they are not saved, and the training '
                f'stops. {last}; go on from it with --resume and a lower learning rate, or with gradients clipped'
            )
        if self._states is not None:
            checkpoint[RANDOM_STATES] = self._states

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        outdated = None
        if self.max_keep_ckpts > 0 and (not self.keep_ckpt_ids or self.keep_ckpt_ids[-1] != step):
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                outdated = self.filename_tmpl.format(self.keep_ckpt_ids.popleft())
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        self._states = all_gather_object(self._before_val or random_states())
        try:
            runner.save_checkpoint(
                self.out_dir,
                name,
                self.file_client_args,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta=meta,
                by_epoch=self.by_epoch,
                backend_args=self.backend_args,
                **self.args,
            )
        finally:
            self._states = None
        self._good = self.last_ckpt
        if not is_main_process():
            return
        WholeFiles().put_text(self.last_ckpt, osp.join(runner.work_dir, POINTER))
        if outdated not in (None, name):
            path = self.file_backend.join_path(self.out_dir, outdated)
            if self.file_backend.isfile(path):
                self.file_backend.remove(path)
            elif self.file_backend.isdir(path):  # DeepSpeed's
                self.file_backend.rmtree(path)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        backend = self.file_backend
        self.file_backend = late = LateRemovals(backend)
        try:
            super()._save_best_checkpoint(runner, metrics)
        finally:
            self.file_backend = backend
        late.remove_now(
            [getattr(self, 'best_ckpt_path', None), self.last_ckpt, *getattr(self, 'best_ckpt_path_dict', {}).values()]
        )

    def _publish_model(self, runner: Runner, ckpt_path: str) -> None:
        """MMEngine's, whose file is written whole."""
        if self.backend_args != dict(backend=WHOLE):
            super()._publish_model(runner, ckpt_path)
        elif is_main_process():
            publish(ckpt_path, self.published_keys)


def publish(path: str, keys: Sequence[str]) -> str:
    """Write what a checkpoint holds under some keys beside it, with the beginning of a checksum in the name as MMEngine
    does, and return where."""
    content = {key: value for key, value in _load_checkpoint(path, map_location='cpu').items() if key in keys}
    checksum = hashlib.sha256(pickle.dumps(content)).hexdigest()
    target = f'{osp.splitext(path)[0]}-{checksum[:8]}.pth'
    save_checkpoint(content, target, backend_args=dict(backend=WHOLE))
    print_log(f'The checkpoint {path} is published to {target}: {", ".join(content)}', 'current')
    return target


def finite(value: Any) -> bool:
    """Whether all numbers of a tensor are; of anything else, yes."""
    return not (isinstance(value, torch.Tensor) and value.is_floating_point()) or bool(value.isfinite().all())
