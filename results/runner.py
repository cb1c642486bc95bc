"""Runs in their work folders, one process after another, and keeps their small files.

What `results.reproduction` and `results.frontier` share. The small files of a run that
is done are kept at once, and it is not run again. What was interrupted goes on from its
last checkpoint. What was run, or went on, while files differed from the commit is not
kept, and not done until its work folder is removed.

A run that diverges is a result, too: `divergence.json` keeps what was said of it.
"""

import contextlib
import dataclasses
import fcntl
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fmnist_jax import stopping
from fmnist_jax import workdir as workdir_lib
from fmnist_jax.errors import DivergenceError
from fmnist_jax.reporting.console import log
from fmnist_jax.reporting.units import duration
from fmnist_jax.training.evaluation.members import ENSEMBLE
from fmnist_jax.training.provenance import git_commit
from results import keep

ROOT = Path(__file__).parent.parent
# In a work folder; that of training has another.
_LOCK = '.reproduce.lock'

# A module and its arguments.
Command = tuple[str, ...]


class Failure(Exception):
    """Why a run is not done, in one line; a command that failed has said more."""


class _Diverged(Exception):
    """What a command said of training that diverged."""


@dataclasses.dataclass(frozen=True)
class Job:
    """A run to be done.

    Attributes:
      name: what is told of it, such as `ROW/seed0`.
      folder: its work folder.
      kept: where its small files are kept.
      work: does it all, and what is done already in seconds, with a function that runs
        a command, which inherits the locks that it is given besides; raises `Failure`.
    """

    name: str
    folder: Path
    kept: Path
    work: Callable[[Callable[..., None]], None]


def run(jobs: Sequence[Job], *, allow_dirty: bool = False) -> list[str]:
    """Runs what is not kept, one job after another.

    Args:
      jobs: in the order that they are run in.
      allow_dirty: whether to run what the checkout holds, committed or not, and keep
        nothing.

    Returns:
      The names of jobs that are not done; the others went on.
    """
    due = [job for job in jobs if not job.kept.exists()]
    if len(due) < len(jobs):
        log(
            f'{len(jobs) - len(due)} of {len(jobs)} runs are kept, and are not run '
            'again, but with another --workdir and another --runs'
        )
    failed, started = [], time.monotonic()
    for number, job in enumerate(due, start=1):
        elapsed = duration(time.monotonic() - started)
        log(f'\n=== {number} of {len(due)}: {job.name}, {elapsed} so far')
        try:
            _run_and_keep(job, allow_dirty=allow_dirty)
        except Failure as error:
            log(f'{job.name} is not done: {error}')
            failed.append(job.name)
    log(f'{len(due) - len(failed)} of {len(due)} runs are done')
    return failed


def _run_and_keep(job: Job, *, allow_dirty: bool) -> None:
    # Files may have been changed during the run before.
    if not allow_dirty:
        check_checkout()
    with locked(job.folder) as lock:
        _run(job, lock)
        if allow_dirty:
            log('not kept: --allow-dirty')
            return
        check_clean(job.folder)
        try:
            keep.keep(job.folder, job.kept)
        except FileNotFoundError as error:
            raise Failure(f'{error}: the run is not done') from error
        log(f'kept: {job.kept}')


@contextlib.contextmanager
def locked(folder: Path, *, waits: bool = False) -> Iterator[int]:
    """Holds a folder until the commands that inherit the file have ended.

    They go on if this process is killed: another must not train in their folder.

    Args:
      folder: made if absent.
      waits: whether to wait while another holds it.

    Yields:
      The file's descriptor.

    Raises:
      Failure: another holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open('w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            busy = f'another process is at work in {folder}'
            if not waits:
                raise Failure(busy) from error
            log(f'waiting: {busy}')
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def _run(job: Job, lock: int) -> None:
    (job.folder / workdir_lib.DIVERGENCE).unlink(missing_ok=True)
    try:
        job.work(lambda command, *locks: _call(command, (lock, *locks)))
    except _Diverged as diverged:
        text = json.dumps({'message': str(diverged)}, indent=2)
        (job.folder / workdir_lib.DIVERGENCE).write_text(text + '\n')


def _call(command: Command, locks: Sequence[int]) -> None:
    """Runs a module, which inherits locks; errors are printed after its end."""
    with tempfile.TemporaryFile('w+') as errors:
        process = subprocess.Popen(
            (sys.executable, '-m', *command), cwd=ROOT, stderr=errors, pass_fds=locks
        )
        try:
            _wait(process)
        finally:
            errors.seek(0)
            said = errors.read()
            sys.stderr.write(said)
    code = process.returncode
    if code in (-signal.SIGINT, 130, stopping.EXIT_CODE):
        raise KeyboardInterrupt
    if code == DivergenceError.exit_code:
        raise _Diverged((said.splitlines() or [''])[-1])
    if code:
        raise Failure(f'exit code {code} of {" ".join(command)}')


def _wait(process: subprocess.Popen) -> None:
    """Waits for its end; a signal to stop, or Ctrl-C, stops it, too.

    The first leaves it the time to write a checkpoint; at the second it is killed.
    """
    try:
        process.wait()
    except BaseException:
        process.terminate()
        try:
            process.wait()
        finally:
            process.kill()
        raise


def shown(path: Path) -> str:
    """A path as others can use it: from the root of the checkout, if it is in it."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def check_checkout() -> None:
    """Checks that what is run is committed.

    Raises:
      Failure: it is not.
    """
    if not _is_clean_commit(git_commit()):
        raise Failure(
            'the checkout has changes that are not committed, so that nobody could '
            'tell what was run; commit them, or try with --allow-dirty, which keeps '
            'nothing'
        )


def check_clean(folder: Path) -> None:
    """Checks that a run's checkout had no changes, each time that it went on.

    Raises:
      Failure: it had, or nothing tells.
    """
    provenance = _provenance(folder)
    starts = (provenance, *provenance.get('resumed', ())) if provenance else ()
    if not all(_is_clean_commit(start['git_commit']) for start in starts):
        raise Failure(
            f'{folder} was run with changes that are not committed; remove that folder '
            'to run it again'
        )


def _provenance(folder: Path) -> dict[str, Any]:
    """That of a run; {} of an ensemble, whose members have one each."""
    path = folder / workdir_lib.PROVENANCE
    if path.exists():
        return json.loads(path.read_text())
    if (folder / ENSEMBLE).exists():
        return {}
    if not (folder / keep.LR_RANGE_TEST).exists():
        raise Failure(f'{folder} does not tell what it was run from')
    return json.loads((folder / keep.LR_RANGE_TEST).read_text())['provenance']


def _is_clean_commit(commit: str | None) -> bool:
    return commit is not None and not commit.endswith('-dirty')
