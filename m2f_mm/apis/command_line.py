"""What the command-line tools share: arguments, the config they lead to, and errors without a traceback."""
import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from m2f_mm.engine.workers import ending_with_parent

from .configs import config_path


def add_common_arguments(parser: argparse.ArgumentParser, checkpoint: bool = False) -> None:
    """Add the arguments that users of OpenMMLab's ``train.py`` and ``test.py`` know."""
    parser.add_argument('config', help='config file, or the name of one that m2f_mm ships')
    if checkpoint:
        parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--work-dir', help='folder for logs and checkpoints (default work_dirs/<config name>)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='override entries of the config; lists as key="[a,b]" or key=a,b, without blanks')
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
    return cfg


def build_runner(cfg: Config, args: argparse.Namespace) -> Runner:
    """The config's runner, its workers connected as ``--launcher`` says."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))  # where MMEngine looks for it
    if args.launcher == 'pytorch' and not torch.cuda.is_available():
        connect_cpu_workers(cfg)
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    runner.build_dataloader = ending_with_parent(runner.build_dataloader)
    return runner


def connect_cpu_workers(cfg: Config) -> None:
    """Connect the workers through gloo, before MMEngine does: it would give each a GPU, with or without one."""
    torch.distributed.init_process_group(backend='gloo')
    if cfg.get('model_wrapper_cfg') is None:
        cfg.model_wrapper_cfg = dict(type='MMDistributedDataParallel', broadcast_buffers=False,
                                     find_unused_parameters=cfg.get('find_unused_parameters', False))
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
def user_errors() -> Iterator[None]:
    """Show what the user can mend (a wrong path or value) as a message and end, instead of with a traceback."""
    try:
        yield
    except (FileNotFoundError, FileExistsError, ValueError) as error:
        sys.exit(f'{Path(sys.argv[0]).name}: error: {error}')
