"""Runs in their work folders, one process after another, and keeps their small files.

What `results.reproduce` and `results.frontier` share. The small files of a run that is
done are kept at once, and it is not run again. What was interrupted goes on from its
last checkpoint. What was run, or went on, while files differed from the commit is not
kept, and not done until its work folder is removed.

A run that diverges is a result, too: `divergence.json` keeps what was said of it.
"""

import argparse
import contextlib
import dataclasses
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from etils import epath

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.errors import DivergenceError, UserError, unknown_name
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
        a command; raises `Failure`.
    """

    name: str
    folder: Path
    kept: Path
    work: Callable[[Callable[[Command], None]], None]


@dataclasses.dataclass(frozen=True)
class Program:
    """What a script runs.

    Attributes:
      name: as `python -m` calls it.
      description: of the script, in one line.
      find: the rows of names, or those that are run by default.
      summary: a table of what is kept of rows in a folder.
      run: runs rows in a work folder, keeps in a folder, or with `allow_dirty` nothing;
        gives the names of runs that are not done.
    """

    name: str
    description: str
    find: Callable[[Sequence[str]], Sequence[Any]]
    summary: Callable[[Sequence[Any], Path], str]
    run: Callable[..., list[str]]


def main(program: Program) -> None:
    """Runs, or lists, as the arguments say; a mistake in them is exit code 2."""
    try:
        arguments = _parse(program)
        rows = program.find(arguments.rows)
        if arguments.list:
            print(program.summary(rows, arguments.runs), flush=True)
            return
        workdir, runs = arguments.workdir.resolve(), arguments.runs.resolve()
        workdir_lib.check(epath.Path(workdir))
        workdir_lib.check(epath.Path(runs), 'choose other --runs')
        if not arguments.allow_dirty:
            _check_checkout()
        # Then a command under way is stopped, too.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        failed = program.run(rows, workdir, runs, allow_dirty=arguments.allow_dirty)
    except UserError as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(error.exit_code)
    except Failure as error:
        sys.exit(f'error: {error}')
    except BrokenPipeError:
        # Whoever read the list has enough; see fmnist_jax/cli.py.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except KeyboardInterrupt:
        print('interrupted; run the same command again to go on', file=sys.stderr)
        sys.exit(130)
    if failed:
        sys.exit(f'error: these are not done, as told above: {", ".join(failed)}')


class _Parser(argparse.ArgumentParser):
    """Tells a mistake in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """As argparse wants it."""
        raise UserError(f'{message}; see --help')


def _parse(program: Program) -> argparse.Namespace:
    parser = _Parser(prog=program.name, description=program.description)
    parser.add_argument('rows', nargs='*', metavar='ROW', help='default: all')
    parser.add_argument('--workdir', type=Path, help='for work folders and data')
    parser.add_argument(
        '--runs',
        type=Path,
        default=keep.RUNS,
        help="where small files are kept; default: this checkout's results/runs",
    )
    parser.add_argument('--list', action='store_true', help='what is kept; run nothing')
    parser.add_argument(
        '--allow-dirty',
        action='store_true',
        help='run with changes that are not committed, and keep nothing',
    )
    arguments = parser.parse_args()
    if not arguments.list and arguments.workdir is None:
        raise UserError('--workdir is missing: it is where runs are trained')
    return arguments


def find(names: Sequence[str], rows: Sequence[Any]) -> list[Any]:
    """The rows of these names, once each.

    Args:
      names: of rows.
      rows: all there are, with a `name` each.

    Raises:
      UserError: there is no row of a name.
    """
    by_name = {row.name: row for row in rows}
    if unknown := [name for name in names if name not in by_name]:
        raise unknown_name('row', unknown[0], by_name)
    return [by_name[name] for name in dict.fromkeys(names)]


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
        _check_checkout()
    with _locked(job.folder) as lock:
        _run(job, lock)
        if allow_dirty:
            log('not kept: --allow-dirty')
            return
        check_clean(job.folder)
        keep.keep(job.folder, job.kept)
        log(f'kept: {job.kept}')


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """Holds a work folder until the commands that inherit the file have ended.

    They go on if this process is killed: another must not train in their folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open('w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Failure(f'another process is at work in {folder}') from error
        yield file.fileno()


def _run(job: Job, lock: int) -> None:
    (job.folder / workdir_lib.DIVERGENCE).unlink(missing_ok=True)
    try:
        job.work(lambda command: _call(command, lock))
    except _Diverged as diverged:
        text = json.dumps({'message': str(diverged)}, indent=2)
        (job.folder / workdir_lib.DIVERGENCE).write_text(text + '\n')


def _call(command: Command, lock: int) -> None:
    """Runs a module, which inherits a lock; errors are printed after its end."""
    done = subprocess.run(
        (sys.executable, '-m', *command),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        pass_fds=(lock,),
    )
    sys.stderr.write(done.stderr)
    if done.returncode in (-signal.SIGINT, 130):
        raise KeyboardInterrupt
    if done.returncode == DivergenceError.exit_code:
        raise _Diverged((done.stderr.splitlines() or [''])[-1])
    if done.returncode:
        raise Failure(f'exit code {done.returncode} of {" ".join(command)}')


def shown(path: Path) -> str:
    """A path as others can use it: from the root of the checkout, if it is in it."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def _check_checkout() -> None:
    if not _is_clean_commit(git_commit()):
        raise Failure(
            'the checkout has changes that are not committed, so that nobody could '
            'tell what was run; commit them, or try with --allow-dirty, which keeps '
            'nothing'
        )


def check_clean(folder: Path) -> None:
    """Checks that a run's checkout had no changes, each time that it went on.

    Raises:
      Failure: it had.
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
    return json.loads((folder / keep.LR_RANGE_TEST).read_text())['provenance']


def _is_clean_commit(commit: str | None) -> bool:
    return commit is not None and not commit.endswith('-dirty')
