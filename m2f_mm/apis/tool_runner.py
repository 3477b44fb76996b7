"""The runner of our tools: MMEngine's, with a start that fits on a screen and checkpoints that must fit the model.

Before the first iteration the terminal shows warnings and a summary: what is trained or tested, on what, for how long,
and where results go. The log file has everything, as ever.
"""

import contextlib
import importlib
import io
import logging
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import BaseLoop, Runner

from m2f_mm.engine.class_counts import data_of, shorten
from m2f_mm.heads import HEAD_NAMES, read, unwrapped

from .weights import recorded_loading

WIDTH, WARNING_LINES = 120, 8  # on the terminal


_printed: list[str] = []  # by imports, before there was a log file


def import_framework(scope: str | None) -> None:
    """Import the framework of a config; what its modules print on import is kept for the log file."""
    MMLogger.get_current_instance()  # so that no logger is made meanwhile, which would keep the exchanged stdout
    printed = io.StringIO()
    for name in ('mmdet', 'mmseg') if scope in ('mmdet', 'mmseg') else ():  # our parts import both
        # What cannot be imported will say so where it is needed.
        with contextlib.redirect_stdout(printed), contextlib.suppress(Exception):
            importlib.import_module(f'{name}.datasets')
    _printed.extend(printed.getvalue().splitlines())


def tool_runner(kind: type = Runner, warnings: Sequence[str] = ()) -> type:
    """A runner's class, such as ``Runner``, as our tools use it; it shows and logs the warnings."""
    return type(kind.__name__, (_ToolRunner, kind), dict(config_warnings=tuple(warnings)))


class _ToolRunner:
    """What is put before a runner's own methods."""

    config_warnings: tuple[str, ...] = ()

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        self.terminal = _Terminal(logger)
        if _printed:
            logger.info('Printed on import:\n' + '\n'.join(_printed))
        for warning in self.config_warnings:
            logger.warning(warning)
        return logger

    def register_hooks(self, *args: Any, **kwargs: Any) -> None:
        super().register_hooks(*args, **kwargs)
        self.register_hook(_StartUpHook(self.terminal), 'LOWEST')

    def load_checkpoint(self, filename: str, *args: Any, **kwargs: Any) -> dict:
        """Raises ValueError where weights that are to be tested or resumed do not fill the model, and where nothing
        of ``load_from`` fits."""
        with recorded_loading(self.model, filename) as report, self.terminal.prints_to_log():
            checkpoint = super().load_checkpoint(filename, *args, **kwargs)
        if self._resume or not isinstance(self._train_loop, BaseLoop):  # the loop is built where the runner trains
            report().require_all()
        else:
            report().require_some()
        return checkpoint


class _Terminal(logging.Filter):
    """What the terminal shows of the log until ``open`` is called: warnings, not longer than a few lines, which weights
    were loaded, and records with the attribute ``summary``."""

    def __init__(self, logger: MMLogger):
        super().__init__()
        self.logger = logger
        self.handlers = [
            handler
            for handler in logger.handlers
            if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler)
        ]
        self.formatters = [handler.formatter for handler in self.handlers]
        for handler in self.handlers:
            handler.addFilter(self)
            handler.setFormatter(_ShortLines(handler.formatter, logger.log_file))

    def filter(self, record: logging.LogRecord) -> bool:
        return (
            record.levelno >= logging.WARNING
            or hasattr(record, 'summary')
            or record.getMessage().startswith('Load checkpoint from')
        )

    def show(self, text: str) -> None:
        """Of the summary."""
        self.logger.info(text, extra=dict(summary=True))

    def open(self) -> None:
        """From here on everything is shown."""
        for handler, formatter in zip(self.handlers, self.formatters):
            handler.removeFilter(self)
            handler.setFormatter(formatter)

    @contextlib.contextmanager
    def prints_to_log(self) -> Iterator[None]:
        """What is printed meanwhile goes to the log file."""
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                yield
        finally:
            if printed.getvalue().strip():
                self.logger.info(printed.getvalue().rstrip())


class _ShortLines(logging.Formatter):
    """Another formatter's text, wrapped, and a long warning cut off."""

    def __init__(self, formatter: logging.Formatter, log_file: str | None):
        super().__init__()
        self.formatter, self.log_file = formatter, log_file

    def format(self, record: logging.LogRecord) -> str:
        if record.levelno < logging.WARNING and not hasattr(record, 'summary'):
            return self.formatter.format(record)
        lines = [
            part
            for line in self.formatter.format(record).splitlines()
            for part in textwrap.wrap(line, WIDTH, subsequent_indent='    ', break_on_hyphens=False) or ['']
        ]
        if record.levelno == logging.WARNING and len(lines) > WARNING_LINES:
            lines = [*lines[: WARNING_LINES - 1], f'    ... ({len(lines)} lines, in full in {self.log_file})']
        return '\n'.join(lines)


class _StartUpHook(Hook):
    """Prints the summary when everything is built."""

    def __init__(self, terminal: _Terminal):
        self.terminal = terminal

    def before_train(self, runner: Runner) -> None:
        self._print([_model(runner), *_data(runner, 'train'), *_data(runner, 'val'), *_schedule(runner)], runner)

    def before_val(self, runner: Runner) -> None:
        self.terminal.open()

    def before_test(self, runner: Runner) -> None:
        self._print([_model(runner), *_data(runner, 'test')], runner)

    def _print(self, lines: list[str], runner: Runner) -> None:
        lines += [
            f'device    {_device(runner)}',
            f'results   {runner.work_dir}',
            f'log       {runner.logger.log_file} (also environment, config, hooks)',
        ]
        self.terminal.show('Start\n' + '\n'.join(f'  {line}' for line in lines))
        self.terminal.open()


def _model(runner: Runner) -> str:
    model = unwrapped(runner.model)
    parts = [type(part).__name__ for name in ('backbone', *HEAD_NAMES) if (part := read(model, name)) is not None]
    counts = [
        sum(weight.numel() for weight in model.parameters() if weight.requires_grad or every) / 1e6
        for every in (True, False)
    ]
    loaded = f'; weights of {runner._load_from}' if runner._load_from else ''
    trained = f', {counts[1]:.1f} M of them trained' if isinstance(runner._train_loop, BaseLoop) else ''
    return f'model     {type(model).__name__} ({", ".join(parts)}), {counts[0]:.1f} M parameters{trained}{loaded}'


def _data(runner: Runner, part: str) -> list[str]:
    if part == 'val' and runner.val_loop is None:
        return []
    dataset = getattr(runner, f'{part}_dataloader').dataset
    known = [data.classes for data in data_of(dataset, part) if data.classes]
    classes = f', {len(known[0])} classes ({shorten(known[0])})' if known else ''
    return [f'{part:<10}{type(dataset).__name__}, {len(dataset)} items{classes}']


def _schedule(runner: Runner) -> list[str]:
    loop, loader = runner.train_loop, runner.train_dataloader
    batch = getattr(loader, 'batch_size', None) or 1
    steps = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
    images = batch * get_world_size() * steps
    parts = ' x '.join(
        f'{number} {what}'
        for number, what in ((batch, 'a process'), (get_world_size(), 'processes'), (steps, 'steps accumulated'))
        if number > 1
    )
    length = (
        f'{loop.max_iters} iterations'
        if getattr(loop, '_max_epochs', 1) == 1 and not _by_epoch(loop)
        else f'{loop.max_epochs} epochs ({loop.max_iters} iterations)'
    )
    groups = _optimizer_groups(runner.optim_wrapper)
    rates = sorted({group.get('initial_lr', group['lr']) for group in groups}, reverse=True)
    schedulers = runner.param_schedulers or []
    names = [
        type(scheduler).__name__
        for scheduler in (
            schedulers if isinstance(schedulers, list) else [one for several in schedulers.values() for one in several]
        )
    ]
    unit = 'epochs' if _by_epoch(loop) else 'iterations'
    validation = f', validation every {loop.val_interval} {unit}' if runner.val_loop is not None else ''
    return [
        f'length    {length}{validation}',
        f'batch     {images} images{f" ({parts})" if parts else ""}',
        f'schedule  learning rate {", ".join(f"{rate:.3g}" for rate in rates[:3])}; '
        f'{", ".join(names) or "constant"}; {type(runner.optim_wrapper).__name__}',
    ]


def _by_epoch(loop: BaseLoop) -> bool:
    return 'Epoch' in type(loop).__name__


def _optimizer_groups(wrapper: Any) -> list[dict]:
    if hasattr(wrapper, 'optim_wrappers'):  # several optimizers
        return [group for one in wrapper.optim_wrappers.values() for group in one.param_groups]
    return wrapper.param_groups


def _device(runner: Runner) -> str:
    device = next(runner.model.parameters()).device
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else 'CPU'
    count = get_world_size()
    return f'{name} x {count} processes' if count > 1 else name
