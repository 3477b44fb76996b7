"""A process that has imported the stacks, and nothing of ours, and runs each command in a fork of itself.

Requests come as lines of JSON on stdin (command, cwd, env, timeout, files of stdout and stderr), exit statuses go to
stdout. Started by ``tests.helpers.commands``; imports nothing but the libraries, so that a command has to import what
it needs of ours.
"""

import atexit
import gc
import importlib
import importlib.util
import json
import os
import random
import runpy
import signal
import sys
import threading
import time
import traceback

LIBRARIES = ('torch', 'scipy.optimize', 'mmengine.runner', 'mmcv.ops', 'mmdet.apis', 'mmseg.apis')


def serve():
    """Answer requests until stdin ends."""
    del sys.path[0]  # this folder
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what the libraries print
    for name in LIBRARIES:
        if importlib.util.find_spec(name.split('.')[0]):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # MMEngine collects garbage whenever a data set is built
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            run(request)
        print(wait(child, request['timeout']), file=answers, flush=True)


def wait(child, timeout):
    """Exit status of a process, which is ended with its children after so many seconds."""
    end = time.monotonic() + timeout
    try:
        while time.monotonic() < end:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
    except KeyboardInterrupt:  # of the tests
        os.killpg(child, signal.SIGKILL)
        raise
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 'timeout'


def run(request):
    """Become the command: its streams, folder, variables, arguments and module path. Never returns."""
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(request['stdout'], os.O_WRONLY), 1)
    os.dup2(os.open(request['stderr'], os.O_WRONLY), 2)
    os.chdir(request['cwd'])
    os.environ.clear()
    os.environ.update(request['env'])
    status = 1
    try:
        status = execute(*request['command'])
    except BaseException:
        traceback.print_exc()
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def execute(first, *arguments):
    """Run a script, or ``-m`` and a module; returns its exit status."""
    import numpy as np

    random.seed()
    np.random.seed()  # the fork has the server's state
    is_module = first == '-m'
    sys.path[:0] = [os.getcwd() if is_module else os.path.dirname(os.path.abspath(first))]
    sys.path[1:1] = os.environ.get('PYTHONPATH', '').split(os.pathsep)
    importlib.invalidate_caches()
    try:
        if is_module:
            sys.argv = list(arguments)
            runpy.run_module(arguments[0], run_name='__main__', alter_sys=True)
        else:
            sys.argv = [first, *arguments]
            runpy.run_path(first, run_name='__main__')
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return int(end.code or 0)
    return 0


if __name__ == '__main__':
    serve()
