"""The command line of `results.reproduction` and `results.frontier`."""

import argparse
import contextlib
import dataclasses
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from etils import epath

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.errors import UserError, unknown_name
from results import keep
from results.runner import Failure, check_checkout


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
    """Runs, or lists, as the arguments say.

    Exit codes: 1 some runs are not done; 2 a mistake in the arguments; 130 interrupted,
    143 ended by SIGTERM, each with a checkpoint; 141 nobody reads the list.
    """
    with told():
        arguments = _parse(program)
        rows = program.find(arguments.rows)
        if arguments.list:
            print(program.summary(rows, arguments.runs), flush=True)
            return
        workdir, runs = arguments.workdir.resolve(), arguments.runs.resolve()
        workdir_lib.check(epath.Path(workdir))
        workdir_lib.check(epath.Path(runs), 'choose other --runs')
        if not arguments.allow_dirty:
            check_checkout()
        # Then a command under way is stopped, too.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        failed = program.run(rows, workdir, runs, allow_dirty=arguments.allow_dirty)
    if failed:
        sys.exit(f'error: these are not done, as told above: {", ".join(failed)}')


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Within it, what goes wrong is told in one line, and is an exit code of `main`."""
    try:
        yield
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


class Parser(argparse.ArgumentParser):
    """Tells a mistake in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """As argparse wants it."""
        raise UserError(f'{message}; see --help')


def _parse(program: Program) -> argparse.Namespace:
    parser = Parser(prog=program.name, description=program.description)
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
