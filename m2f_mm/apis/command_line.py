"""What the command-line tools share: arguments, the config they lead to, and errors without a traceback."""

import argparse
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from m2f_mm.engine.class_counts import fill_classes
from m2f_mm.engine.workers import ending_with_parent

from .cli import DEBUG
from .configs import PACKAGE_ROOT, config_path, write_missing_pure_configs
from .outputs import refuse_data_outputs
from .tool_runner import import_framework, tool_runner


def add_common_arguments(parser: argparse.ArgumentParser, checkpoint: bool = False) -> None:
    """Add the arguments that users of OpenMMLab's ``train.py`` and ``test.py`` know."""
    parser.add_argument('config', help='config file, or the name of one that m2f_mm ships')
    if checkpoint:
        parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--work-dir', help='folder for logs and checkpoints (default work_dirs/<config name>)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override entries of the config; lists as key="[a,b]" or key=a,b, without blanks',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='set by the launcher')


def existing_file(path: str, argument: str) -> str:
    """``path``, if it is a file or an address; FileNotFoundError names the argument otherwise."""
    if '://' not in path and not Path(path).is_file():
        raise FileNotFoundError(f'{argument}: there is no file {path!r} (looked in {Path.cwd()})')
    return path


def config_file(config: str) -> str:
    """A file, or the path of a shipped config by its name, with or without folder and ``.py``.

    Raises:
        FileNotFoundError: neither; says where was looked, and which names are near.
    """
    write_missing_pure_configs()  # which the config may inherit from
    if Path(config).is_file():
        return config
    try:
        return config_path(config)
    except FileNotFoundError as error:
        raise FileNotFoundError(f'config: there is no file {config!r} (looked in {Path.cwd()}). {error}') from None


def load_config(args: argparse.Namespace) -> Config:
    """Read ``args.config``, a file or the name of a shipped one, and apply the common arguments."""
    path = config_file(args.config)
    cfg = Config.fromfile(path)
    cfg.launcher = args.launcher
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(path).stem)
    import_framework(cfg.get('default_scope'))
    fill_classes(cfg)
    return cfg


def build_runner(cfg: Config, args: argparse.Namespace, warnings: Sequence[str] = ()) -> Runner:
    """The config's runner, its workers connected as ``--launcher`` says.

    Args:
        cfg: with all arguments applied.
        args: common arguments.
        warnings: about the config, to be shown and logged.

    Raises:
        ValueError: results would be written over the data.
    """
    refuse_data_outputs(cfg)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))  # where MMEngine looks for it
    if args.launcher == 'pytorch' and not torch.cuda.is_available():
        connect_cpu_workers(cfg)
    kind = RUNNERS.get(cfg.runner_type) if isinstance(cfg.get('runner_type'), str) else cfg.get('runner_type', Runner)
    if isinstance(kind, type) and issubclass(kind, Runner):
        runner = tool_runner(kind, warnings).from_cfg(cfg)
    else:  # MMEngine's FlexibleRunner logs and loads otherwise
        print(*warnings, sep='\n')
        runner = RUNNERS.build(cfg)
    runner.build_dataloader = ending_with_parent(runner.build_dataloader)
    return runner


def launched_processes(launcher: str) -> int:
    """Number of processes of a job, before they are connected."""
    variables = dict(pytorch='WORLD_SIZE', slurm='SLURM_NTASKS', mpi='OMPI_COMM_WORLD_SIZE')
    return int(os.environ.get(variables.get(launcher, ''), 1))


def connect_cpu_workers(cfg: Config) -> None:
    """Connect the workers through gloo, before MMEngine does: it would give each a GPU, with or without one."""
    torch.distributed.init_process_group(backend='gloo')
    if cfg.get('model_wrapper_cfg') is None:
        cfg.model_wrapper_cfg = dict(
            type='MMDistributedDataParallel',
            broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False),
        )
    cfg.model_wrapper_cfg.setdefault('device_ids', None)


def disconnect_workers() -> None:
    """End a job's workers together: where gloo's threads still run at the interpreter's end, a process may abort."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def height_and_width(text: str) -> tuple[int, int]:
    """The value of an argument such as 128x96, H x W in pixels."""
    try:
        height, width = (int(side) for side in text.lower().split('x'))
    except ValueError:
        raise argparse.ArgumentTypeError(f'wants HxW such as 128x128, got {text!r}') from None
    return height, width


@contextmanager
def user_errors(ours: bool = False) -> Iterator[None]:
    """Show what the user can mend (a wrong path or value) as a message and end, instead of with a traceback.

    Args:
        ours: only errors that this package raises; those of other code keep their traceback.
    """
    try:
        yield
    except (FileNotFoundError, FileExistsError, ValueError) as error:
        if ours and not _raised_here(error) or os.environ.get(DEBUG):
            raise
        sys.exit(f'{Path(sys.argv[0]).name}: error: {error}')


def _raised_here(error: BaseException | None) -> bool:
    """Whether code of this package raised an error, or one that MMEngine's registry then put into other words."""
    while error is not None:
        *_, place = traceback.extract_tb(error.__traceback__)
        if Path(place.filename).resolve().is_relative_to(PACKAGE_ROOT):
            return True
        error = error.__context__
    return False
