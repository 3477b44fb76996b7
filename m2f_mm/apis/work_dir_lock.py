"""One training at a time in a folder: two would remove each other's checkpoints."""

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from mmengine.logging import print_log

NAME = '.training.lock'


@contextlib.contextmanager
def work_dir_lock(folder: str, launcher: str = 'none') -> Iterator[None]:
    """Hold the folder of a training's results.

    The system lets go of the lock when its process ends, however it ends. The file says who holds it, and is emptied at
    the end; where locks do not reach over a shared disk, a record of another computer that was not emptied is a
    training that still runs, or was killed: a warning says so.

    Args:
        folder: is made if missing; an address of a store is not locked.
        launcher: of the job, of which the first process holds the lock for all.

    Raises:
        ValueError: another training holds it; names host, process and start.
    """
    if '://' in folder or launch_rank(launcher) > 0:
        yield
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    path = Path(folder) / NAME
    with open(path, 'a+', encoding='utf-8') as file:
        try:
            # Of the process, not of the open file: workers that outlive a killed training do not hold it.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locks = True
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise _refused(folder, _read(file)) from None
            locks = False  # the disk has none
        other = _read(file)
        if other.get('host') == socket.gethostname() and not locks and _runs(other):
            raise _refused(folder, other)
        if other and other.get('host') != socket.gethostname():
            print_log(
                f'work_dir {folder}: a training on another computer has not ended in order '
                f"({_described(other)}). If it still runs, the two remove each other's checkpoints: end one of "
                'them',
                'current',
                30,
            )
        _write(
            file,
            json.dumps(
                dict(
                    host=socket.gethostname(),
                    pid=os.getpid(),
                    process_start=_process_start('self'),
                    start=time.strftime('%Y-%m-%d %H:%M:%S'),
                )
            ),
        )
        try:
            yield
        finally:
            _write(file, '')


def _refused(folder: str, other: dict) -> ValueError:
    return ValueError(
        f'work_dir {folder}: another training writes there ({_described(other)}), and the two would '
        "remove each other's checkpoints. Wait for it, end it, or choose another --work-dir"
    )


def launch_rank(launcher: str) -> int:
    """Number of this process in its job, before the processes are connected."""
    variables = dict(pytorch='RANK', slurm='SLURM_PROCID', mpi='OMPI_COMM_WORLD_RANK')
    return int(os.environ.get(variables.get(launcher, ''), 0))


def _read(file) -> dict:
    """The record of a lock's file, empty where it has none that can be read."""
    file.seek(0)
    with contextlib.suppress(ValueError, OSError):
        content = json.loads(file.read() or '{}')
        return content if isinstance(content, dict) else {}
    return {}


def _write(file, content: str) -> None:
    with contextlib.suppress(OSError):  # a full disk must not end a training
        file.truncate(0)
        file.write(content)
        file.flush()


def _described(record: dict) -> str:
    if not record:
        return 'it left no record of itself'
    return f'host {record.get("host")}, process {record.get("pid")}, started {record.get("start")}'


def _runs(record: dict) -> bool:
    """Whether a process of this computer is the one that wrote the record: numbers are given out anew."""
    start = _process_start(record.get('pid'))
    return start is not None and start == record.get('process_start')


def _process_start(pid: int | str) -> str | None:
    """In ticks since the computer's start; None where there is no such process."""
    with contextlib.suppress(OSError, IndexError):
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[19]
    return None
