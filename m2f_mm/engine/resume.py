"""Which checkpoint a training goes on from."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.logging import print_log

POINTER = 'last_checkpoint'  # MMEngine's file with the path of the newest
TEMPLATES = ('iter_{}.pth', 'epoch_{}.pth')
NEEDED = ('meta', 'state_dict', 'message_hub')  # by MMEngine's resume


class Resumable(NamedTuple):
    """A checkpoint that was read and is whole. Of one that lies elsewhere than on a disk, or is a folder, only where it
    is is known."""

    path: str
    iteration: int = -1
    seed: int | None = None


def newest_checkpoint(work_dir: str, folder: str | None = None, template: str | None = None) -> Resumable | None:
    """The newest checkpoint of a training that can be read, None where it has not saved any.

    What lies in the folder counts, not what the file ``last_checkpoint`` says: it may be empty, or of before the folder
    was moved. Only where no checkpoint lies in the folder it is followed.

    Args:
        work_dir: of the training.
        folder: of its checkpoints, if that is another.
        template: of their names, ``{}`` for the number, if it is not MMEngine's.

    Raises:
        ValueError: there are checkpoints, but none can be used; says why of each.
    """
    unusable: list[str] = []
    templates = TEMPLATES if template in (None, *TEMPLATES) else (template,)
    newest = [next(_usable(Path(folder or work_dir), name, unusable), None) for name in templates]
    best = max(filter(None, newest), key=lambda checkpoint: checkpoint.iteration, default=None)
    pointer = Path(work_dir, POINTER)
    named = pointer.read_text(encoding='utf-8', errors='replace').strip('\0 \n') if pointer.is_file() else ''
    if best is None and named and not unusable:
        if '://' in named or Path(named).is_dir():
            return Resumable(named)
        if Path(named).is_file():
            best = _read(Path(named), unusable)
        else:
            unusable.append(f'{named}, which {pointer} names, is not there')
    if best is None and unusable:
        raise ValueError(
            f'no checkpoint in {folder or work_dir} can be used to resume: {"; ".join(unusable)}. Give a '
            f'whole one by its path, or remove them, and {pointer}, to start from the first iteration'
        )
    for reason in unusable:
        print_log(f'Passed over for resuming: {reason}', 'current', 30)
    return best


def _usable(folder: Path, template: str, unusable: list[str]) -> Iterator[Resumable]:
    """Those of one form of name that can be read, the newest first."""
    before, _, after = template.partition('{}')
    names = re.compile(rf'{re.escape(before)}(\d+){re.escape(after)}')
    numbered = [
        (int(match[1]), path)
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (match := names.fullmatch(path.name))
    ]
    for number, path in sorted(numbered, reverse=True):
        checkpoint = Resumable(str(path), number) if path.is_dir() else _read(path, unusable)  # DeepSpeed's are folders
        if checkpoint is not None:
            yield checkpoint


def _read(path: Path, unusable: list[str]) -> Resumable | None:
    from m2f_mm.checkpoints.reading import read_checkpoint

    try:
        content = read_checkpoint(path)
    except (ValueError, OSError) as error:
        unusable.append(str(error))
        return None
    missing = [key for key in NEEDED if not isinstance(content, dict) or not isinstance(content.get(key), dict)]
    if missing or not isinstance(content['meta'].get('iter'), int):
        unusable.append(f'{path} has no {", ".join(missing) or "meta.iter"}: it is of no training of MMEngine')
        return None
    return Resumable(str(path), content['meta']['iter'], content['meta'].get('seed'))


def checkpoint_folder(work_dir: str, out_dir: str | None) -> str:
    """Where MMEngine's hook puts the checkpoints of a training: in the work directory, or below ``out_dir`` by its
    name."""
    return work_dir if out_dir is None or out_dir == work_dir else str(Path(out_dir, Path(work_dir).name))


def use_whole_checkpoints(cfg: Config) -> None:
    """Have our checkpoint hook in the place of MMEngine's, whose options it takes."""
    hooks = cfg.get('default_hooks') or {}
    hook = hooks.get('checkpoint', dict(type='CheckpointHook'))
    if hook is not None and hook.get('type') in ('CheckpointHook', 'mmengine.CheckpointHook'):
        cfg.default_hooks = {**hooks, 'checkpoint': {**hook, 'type': 'm2f_mm.CheckpointHook'}}


def prepare_resume(cfg: Config) -> None:
    """Decide from which checkpoint a config that says ``resume`` goes on, and take the seed of the run that wrote it,
    so that the same data come in the same order.

    Raises:
        ValueError: there are checkpoints, but none can be used.
    """
    if not cfg.get('resume'):
        return
    hook: dict[str, Any] = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    if cfg.get('load_from') is None:
        out_dir = hook.get('out_dir')
        checkpoint = newest_checkpoint(
            cfg.work_dir, checkpoint_folder(cfg.work_dir, out_dir), hook.get('filename_tmpl')
        )
        if checkpoint is None:
            print_log(f'No checkpoint in {cfg.work_dir}: the training starts from its first iteration', 'current', 30)
            return
        cfg.load_from = checkpoint.path
    else:  # what is wrong with it, loading says
        checkpoint = _read(Path(cfg.load_from), []) if Path(cfg.load_from).is_file() else None
    if checkpoint is not None and checkpoint.seed is not None and (cfg.get('randomness') or {}).get('seed') is None:
        cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': checkpoint.seed}


def resume_newest(cfg: Config) -> None:
    """Go on from the newest checkpoint in the work directory; where there is none, start as the config says, from its
    ``load_from``.

    Raises:
        ValueError: there are checkpoints, but none can be used.
    """
    start = cfg.get('load_from')
    cfg.resume, cfg.load_from = True, None
    prepare_resume(cfg)
    if cfg.load_from is None and start is not None:
        cfg.resume, cfg.load_from = False, start
