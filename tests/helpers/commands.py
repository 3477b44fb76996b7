"""Tools run as a user runs them, in a process of their own, without importing the stacks each time."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
_servers = []  # one for this process, started when it is first needed


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stdout + self.stderr


def run_python(*command, cwd=None, env=None, cold=False, timeout=600) -> Done:
    """What became of ``python *command``: a script, or ``-m`` and a module, and its arguments.

    Args:
        cwd: folder that it starts in.
        env: variables that are not ours.
        cold: start an interpreter. Otherwise the process is a fork of one that has imported torch, mmcv, MMDetection
            and MMSegmentation, which takes most of the time of a short command.
    """
    command = [str(part) for part in command]
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', **(env or {})}
    with tempfile.NamedTemporaryFile() as stdout, tempfile.NamedTemporaryFile() as stderr:
        if cold:
            status = subprocess.run(
                [sys.executable, *command],
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                timeout=timeout,
            ).returncode
        else:
            streams = dict(stdout=stdout.name, stderr=stderr.name)
            status = _fork(
                dict(command=command, cwd=str(cwd or Path.cwd()), env=environment, timeout=timeout, **streams)
            )
        return Done(status, *(Path(stream.name).read_text(errors='replace') for stream in (stdout, stderr)))


def output_of(*command, **options) -> str:
    """Output of a command that must succeed."""
    done = run_python(*command, **options)
    assert done.returncode == 0, done.output[-4000:]
    return done.output


def _fork(request) -> int:
    if not _servers:
        environment = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
        _servers.append(
            subprocess.Popen(
                [sys.executable, '-W', 'ignore', Path(__file__).with_name('command_server.py')],
                env={**environment, 'OMP_NUM_THREADS': '1'},
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        )
    server = _servers[0]
    server.stdin.write(json.dumps(request) + '\n')
    server.stdin.flush()
    answer = server.stdout.readline()
    assert answer, f'the server of commands has ended with status {server.wait()}'
    assert answer != 'timeout\n', f'{request["command"]} took longer than {request["timeout"]} s'
    return int(answer)
