"""Runs on each worker of a TPU VM: starts the training, tells how it goes, stops it.

It comes with the code and is run by the machine's own Python, 3.10 or later and without
any package. The training belongs to no connection: it goes on when one breaks. Each
command replies with one line, `MARKER` and a JSON object, since gcloud prints lines of
its own and repeats a command whose connection broke.

All it knows is in `.job/` of the code's folder: `flags.json`, of the training; `lock`,
held by the training's processes as long as one of them lives, whatever else happens;
`log`, and that of the one before; `exit.json`, how it ended; `stopped`, if somebody
asked for that.
"""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

MARKER = '@fmnist_jax '
# The environment variable with the number of the lock's file descriptor.
_LOCK = 'FMNIST_JAX_LOCK'
# Bytes of the output in one reply, and of its end where no more is asked for.
_CHUNK = 256 * 1024
_TAIL = 8 * 1024
# Python that launch.sh can make a virtual environment with.
_SUITABLE = 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))'
# Where a TPU VM tells the number of its worker.
_NUMBER = (
    'http://metadata.google.internal/computeMetadata/v1/instance/attributes/'
    'agent-worker-number'
)
# Seconds that a training has to write a checkpoint and end.
_PATIENCE = 40


def try_lock(job: Path, kind: int = fcntl.LOCK_EX) -> int | None:
    """An open file descriptor that holds the lock; None if a training does.

    Those who only ask take it shared (`LOCK_SH`): none is a training to another.
    """
    job.mkdir(exist_ok=True)
    descriptor = os.open(job / 'lock', os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def start(job: Path, flags: list[str]) -> dict[str, Any]:
    """Starts a training unless one runs; replies as `status`."""
    # Somebody who only asks holds the lock for an instant.
    for _ in range(10):
        lock = try_lock(job)
        if lock is not None:
            break
        time.sleep(0.1)
    else:
        return status(job)
    for name in ('exit.json', 'stopped', 'pid'):
        if (job / name).exists():
            (job / name).unlink()
    if (job / 'log').exists():
        (job / 'log').replace(job / 'log.before')
    write_json(job / 'flags.json', flags)
    with open(job / 'log', 'ab') as log:
        process = subprocess.Popen(
            [sys.executable, __file__, 'supervise', *flags],
            cwd=job.parent,
            env={**os.environ, _LOCK: str(lock)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=[lock],
        )
    (job / 'pid').write_text(str(process.pid))
    os.close(lock)
    return status(job)


def supervise(job: Path, flags: list[str]) -> None:
    """Sets up and trains, and writes how that ended."""
    # The group's signals are for the training; this process stays to see how it ends.
    # A handler, unlike `SIG_IGN`, is not passed on to programs that are started.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    environment = {'FMNIST_JAX_ACCELERATOR': 'tpu', **os.environ}
    python = find_python()
    if python:
        environment['PYTHON'] = python
    done = subprocess.run(
        ['./launch.sh', *flags],
        cwd=job.parent,
        env=environment,
        pass_fds=[int(os.environ[_LOCK])],
        check=False,
    )
    code = done.returncode if done.returncode >= 0 else 128 - done.returncode
    write_json(job / 'exit.json', {'code': code, 'time': time.time()})


def write_json(path: Path, value: Any) -> None:
    """Writes a whole file, of which a VM that goes leaves no part."""
    temporary = path.with_suffix('.tmp')
    temporary.write_text(json.dumps(value))
    temporary.replace(path)


def find_python() -> str | None:
    """A Python for launch.sh; None if it finds one itself.

    The software versions of Cloud TPU are Ubuntu 22.04 with Python 3.10. uv, from PyPI,
    gets a later one from python-build-standalone and checks its checksum.
    """
    for name in ('python3', 'python3.13', 'python3.12', 'python3.11'):
        try:
            done = subprocess.run(
                [name, '-c', _SUITABLE], stderr=subprocess.DEVNULL, check=False
            )
        except OSError:
            continue
        if done.returncode == 0:
            return None if name == 'python3' else name
    print('worker.py: getting Python 3.12 with uv', flush=True)
    python = [sys.executable, '-m']
    subprocess.run([*python, 'pip', 'install', '--quiet', '--user', 'uv'], check=False)
    subprocess.run([*python, 'uv', 'python', 'install', '3.12'], check=False)
    found = subprocess.run(
        [*python, 'uv', 'python', 'find', '3.12'],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return found.stdout.strip() or None


def status(job: Path, offset: int | None = None) -> dict[str, Any]:
    """How the training goes; with its output from a byte on, if one is named."""
    lock = try_lock(job, fcntl.LOCK_SH)
    if lock is not None:
        os.close(lock)
    flags, ended = job / 'flags.json', job / 'exit.json'
    known = flags.exists()
    state = 'running' if lock is None else 'ended' if known else 'absent'
    reply: dict[str, Any] = {'worker': number(), 'state': state}
    reply['flags'] = json.loads(flags.read_text()) if known else None
    reply['stopped'] = (job / 'stopped').exists()
    over = json.loads(ended.read_text()) if lock is not None and ended.exists() else {}
    reply['code'], reply['time'] = over.get('code'), over.get('time')
    return reply if offset is None else reply | read_log(job, offset, lock is None)


def read_log(job: Path, offset: int, running: bool) -> dict[str, Any]:
    """The output from a byte on, or its end if that is negative; whole lines of it."""
    log = job / 'log'
    size = log.stat().st_size if log.exists() else 0
    if not 0 <= offset <= size:
        offset = max(0, size - _TAIL)
    text = b''
    if size:
        with open(log, 'rb') as file:
            file.seek(offset)
            text = file.read(min(_CHUNK, size - offset))
    if running or offset + len(text) < size:
        # The rest of the last line is still to come, unless all of it is one line.
        text = text[: text.rfind(b'\n') + 1] or (text if len(text) == _CHUNK else b'')
    end = offset + len(text)
    return {'log': text.decode('utf-8', 'replace'), 'offset': end, 'size': size}


def number() -> int:
    """This worker's number: what JAX takes for the process's, or the host's name."""
    if 'TPU_WORKER_ID' in os.environ:
        return int(os.environ['TPU_WORKER_ID'])
    import urllib.request  # noqa: PLC0415 (as slow as all the rest)

    request = urllib.request.Request(_NUMBER, headers={'Metadata-Flavor': 'Google'})
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return int(response.read())
    except (OSError, ValueError):
        last = socket.gethostname().rpartition('-w-')[2]
        return int(last) if last.isdigit() else 0


def stop(job: Path, patience: float = _PATIENCE) -> dict[str, Any]:
    """Asks a training to write a checkpoint and end; ends it if it does not."""
    job.mkdir(exist_ok=True)
    (job / 'stopped').touch()
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 10)):
        if status(job)['state'] != 'running':
            break
        try:
            os.killpg(int((job / 'pid').read_text()), number)
        except (ProcessLookupError, FileNotFoundError):
            break  # It ends, or begins: the reply says so.
        until = time.time() + seconds
        while time.time() < until and status(job)['state'] == 'running':
            time.sleep(0.2)
    return status(job)


def pack(job: Path, workdir: str) -> dict[str, Any]:
    """Puts a work folder into `.job/results.tar.gz`; replies whether there is one."""
    import tarfile  # noqa: PLC0415

    # A link to it would be packed as a link.
    folder = (job.parent / os.path.expanduser(workdir)).resolve()
    if folder.is_dir():
        with tarfile.open(job / 'results.tar.gz', 'w:gz') as archive:
            archive.add(folder, arcname='results')
    return {'packed': folder.is_dir()}


def main(command: str, arguments: list[str]) -> None:
    """Does what it is called with, and replies."""
    job = Path(__file__).resolve().parents[2] / '.job'
    if command == 'supervise':
        supervise(job, arguments)
        return
    if command == 'start':
        reply = start(job, arguments)
    elif command == 'stop':
        reply = stop(job)
    elif command == 'pack':
        reply = pack(job, *arguments)
    else:
        reply = status(job, *map(int, arguments))
    print(MARKER + json.dumps(reply), flush=True)


if __name__ == '__main__':
    main(sys.argv[1], sys.argv[2:])
