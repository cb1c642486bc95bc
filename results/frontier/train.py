"""Trains the rows of results/frontier.md: python -m results.frontier --workdir=FOLDER

For each row of `results/frontier/rows.py`, or those named, trains its seeds in
`FOLDER/ROW` and scores them as the row says, one process after another: the first seed
of all rows, then the second; a run after those that it learns from. Small files are
kept in `results/runs/frontier/ROW/seedN`; see `results/runner.py` for what is kept, and
what is gone on with. `--list` says what is kept and what is missing. What is kept is
not run again, but with another `--workdir` and another `--runs`, with those that it
learns from or is made of.

The test set is scored once for each finished run of a row that says so, and only if all
trials that the row was chosen from are committed; with `--allow-dirty`, never. Rows
that need an accelerator are left out where JAX finds none.
"""

import dataclasses
import functools
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.errors import UserError
from fmnist_jax.reporting.console import log, table
from fmnist_jax.reporting.runs import Run
from fmnist_jax.reporting.units import duration
from results import keep, program, runner
from results.frontier.rows import ACCELERATOR, ROWS, Row
from results.frontier.runs import kept_folder, mean_validation, read_row, source
from results.runner import ROOT, Command, Failure, Job, shown


@dataclasses.dataclass(frozen=True)
class Place:
    """Where runs are trained and kept.

    Attributes:
      workdir: for their work folders.
      runs: `results/runs`, or another folder to keep small files in.
      keeps: whether anything is kept; else, the test set is not scored.
    """

    workdir: Path
    runs: Path
    keeps: bool = True

    def folder(self, row: Row, seed: int) -> Path:
        """The work folder of a run."""
        return self.workdir / row.name / f'seed{seed}'

    def kept(self, row: Row, seed: int) -> Path:
        """Where its small files are kept."""
        return kept_folder(self.runs, row, seed)


def main() -> None:
    """Runs, or lists, as the arguments say."""
    program.main(
        program.Program('results.frontier', __doc__.splitlines()[0], find, summary, run)
    )


def find(names: Sequence[str]) -> list[Row]:
    """The rows of these names, all if there are none.

    Raises:
      UserError: a name is not that of a row.
    """
    return program.find(names, ROWS) if names else list(ROWS)


def summary(rows: Sequence[Row], runs: Path) -> str:
    """A table of what is kept of each row, and what is missing."""
    lines = []
    for row in rows:
        seconds = [one.run.seconds for one in read_row(runs, row).values() if one.run]
        seeds = range(row.num_seeds)
        missing = [str(x) for x in seeds if not kept_folder(runs, row, x).exists()]
        number = f'{row.num_seeds - len(missing)} of {row.num_seeds}'
        fastest = duration(min(seconds)) if seconds else ''
        lines.append(
            (row.name, row.split, row.needs, number, ' '.join(missing), fastest)
        )
    header = ('row', 'scored on', 'needs', 'kept', 'missing seeds', 'fastest')
    return table(lines, header)


def run(
    rows: Sequence[Row], workdir: Path, runs: Path, *, allow_dirty: bool = False
) -> list[str]:
    """Runs what is not kept, and can be run here.

    Args:
      rows: some of them.
      workdir: for their work folders.
      runs: `results/runs`, or another folder to keep small files in.
      allow_dirty: as of `runner.run`; the test set is not scored.

    Returns:
      The runs that are not done, `ROW/seedN`; the others went on.

    Raises:
      UserError: all that is to be run needs an accelerator, and there is none.
    """
    due = [(row, seed) for row in rows for seed in range(row.num_seeds)]
    # As far as the latest seed that it needs; then in the order of the rows.
    due.sort(key=lambda one: max(one[1], *(seed for _, seed in _sources(*one)), 0))
    kept = [one for one in due if kept_folder(runs, *one).exists()]
    due = _possible([one for one in due if one not in kept])
    place = Place(workdir, runs, keeps=not allow_dirty)
    jobs = [_job(row, seed, place) for row, seed in (*kept, *due)]
    return runner.run(jobs, allow_dirty=allow_dirty)


def _sources(row: Row, seed: int) -> list[tuple[Row, int]]:
    return [source(text, seed) for text in row.sources]


def _possible(due: Sequence[tuple[Row, int]]) -> list[tuple[Row, int]]:
    """Without those that need an accelerator, if there is none."""
    waiting = {row.name for row, _ in due if row.needs == ACCELERATOR}
    if not waiting or has_accelerator():
        return list(due)
    names = ', '.join(sorted(waiting))
    if waiting == {row.name for row, _ in due}:
        raise UserError(
            f'{names}: needs an accelerator, and JAX finds none here; run it where one '
            'is, or name other rows'
        )
    log(f'left out, for they need an accelerator and JAX finds none: {names}')
    return [(row, seed) for row, seed in due if row.needs != ACCELERATOR]


@functools.cache
def has_accelerator() -> bool:
    """Whether JAX finds a GPU or TPU; asked in a process that does not hold it."""
    code = 'import jax; print(jax.default_backend())'
    done = subprocess.run(
        (sys.executable, '-c', code),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    return done.returncode == 0 and done.stdout.split()[-1:] != ['cpu']


def _job(row: Row, seed: int, place: Place) -> Job:
    return Job(
        name=f'{row.name}/seed{seed}',
        folder=place.folder(row, seed),
        kept=place.kept(row, seed),
        work=functools.partial(_work, row, seed, place),
    )


def _work(row: Row, seed: int, place: Place, call: Callable[[Command], None]) -> None:
    """Runs all that a row needs of a seed; what is done already takes seconds."""
    for other, other_seed in _sources(row, seed):
        _check_trained(other, other_seed, place)
    if row.is_scored and place.keeps:
        check_chosen(row)
    if row.config:
        call(training(row, seed, place))
    if row.is_scored and not place.keeps:
        log('not scored on the test set: --allow-dirty')
        return
    if row.is_scored and row.config:
        # What cannot be kept is not scored: it would be once more.
        runner.check_clean(place.folder(row, seed))
    for command in scoring(row, seed, place):
        call(command)
    if row.runs_of:
        scored = place.folder(*source(row.runs_of, seed))
        _copy(scored, place.folder(row, seed), row.evaluation_folder)


def check_chosen(row: Row) -> None:
    """Checks that validation has chosen a scored row, among trials that are committed.

    In the checkout's results/runs, wherever its own runs are kept: who measures it
    again does not choose again.

    Args:
      row: is scored.

    Raises:
      Failure: a run of a trial is not committed, or another trial is better than the
        one that the row names.
    """
    chosen, _ = source(row.chosen_from, 0)
    trials = [one for one in ROWS if one.trial_of == chosen.trial_of]
    for trial in trials:
        for seed in range(trial.num_seeds):
            _check_committed(kept_folder(keep.RUNS, trial, seed), trial)
    # The chosen one on ties.
    best = max(trials, key=lambda x: (_validation(x), x == chosen))
    if best != chosen:
        raise Failure(
            f'the test set is not touched for {row.name}: it names {chosen.name} as '
            f'chosen, and {best.name} is better on validation; make the recipe that one'
        )


def _validation(trial: Row) -> float:
    return mean_validation(read_row(keep.RUNS, trial))


def _check_committed(folder: Path, trial: Row) -> None:
    path = folder / workdir_lib.METRICS
    if not is_committed(path):
        raise Failure(
            f'the test set is not touched before {trial.name}, a trial that chooses '
            f'this recipe on validation, is committed, and {path} is not; run that '
            'row, commit what is kept of it, and try again'
        )


def is_committed(path: Path) -> bool:
    """Whether a file is part of the commit that is checked out."""
    if not path.is_relative_to(ROOT):
        return False
    done = subprocess.run(
        ('git', 'ls-tree', '-r', '--name-only', 'HEAD', str(path.relative_to(ROOT))),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    return bool(done.stdout.strip())


def _check_trained(row: Row, seed: int, place: Place) -> None:
    """Checks that a run that another learns from, or scores, is there and is done."""
    folder, kept = place.folder(row, seed), place.kept(row, seed)
    advice = f'run the row {row.name} first, in the same --workdir'
    if place.keeps and not kept.exists():
        raise Failure(f'{kept} is missing; {advice}')
    if place.keeps:
        # Else it would not be run: its small files are kept already.
        advice += ' and with another --runs'
    try:
        begun = Run.read(folder)
    except UserError as error:
        raise Failure(f'{error}; {advice}') from error
    if begun.epochs < begun.config['num_epochs']:
        raise Failure(f'{folder} is not trained to its end; {advice}')


def training(row: Row, seed: int, place: Place) -> Command:
    """The command that trains a run.

    Args:
      row: with a config.
      seed: of the run.
      place: of the run, and of those that it learns from.

    Returns:
      A module and its arguments.
    """
    overrides = {**row.overrides, 'seed': seed}
    if row.teachers:
        overrides['distillation.teachers'] = tuple(
            shown(place.folder(*source(name, seed))) for name in row.teachers
        )
    path, colon, variant = row.config.partition(':')
    return (
        'fmnist_jax.main',
        f'--config=configs/{path}.py{colon}{variant}',
        *(f'--config.{field}={value}' for field, value in overrides.items()),
        f'--workdir={shown(place.folder(row, seed))}',
    )


def scoring(row: Row, seed: int, place: Place) -> Iterator[Command]:
    """The commands that score a run, but for what has been scored.

    Args:
      row: of the run.
      seed: of it.
      place: of the run, which is trained.

    Yields:
      A module and its arguments.
    """
    folder = place.folder(row, seed)
    if row.runs_of:
        folder = place.folder(*source(row.runs_of, seed))
    arguments = (f'--workdir={shown(folder)}', f'--split={row.split}')
    target = folder / workdir_lib.EVALUATION / row.evaluation_folder
    # A trial and an ablation are judged by what training measured.
    is_evaluated = row.is_scored or row.evaluation or row.members
    if is_evaluated and not (target / 'metrics.json').exists():
        script = 'evaluate'
        if row.members:
            script = 'ensemble'
            members = [place.folder(*source(name, seed)) for name in row.members]
            arguments += (f'--members={",".join(map(shown, members))}',)
        yield (f'fmnist_jax.{script}', *arguments, *row.evaluation)
    if row.is_robustness_scored and not (target / 'robustness.json').exists():
        yield ('fmnist_jax.robustness', *arguments)


def _copy(scored: Path, folder: Path, evaluation: str) -> None:
    """Takes the small files of a run, and one of its evaluations."""
    for name in keep.FILES:
        shutil.copyfile(scored / name, folder / name)
    target = folder / workdir_lib.EVALUATION / evaluation
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(scored / workdir_lib.EVALUATION / evaluation, target)
