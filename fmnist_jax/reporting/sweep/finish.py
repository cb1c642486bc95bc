"""The end of a sweep: what came out, which config won, and what to do next."""

from collections.abc import Callable, Iterator, Sequence

from etils import epath

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.grid import Axis
from fmnist_jax.reporting import console
from fmnist_jax.reporting.commands import command
from fmnist_jax.reporting.sweep.labels import describe
from fmnist_jax.reporting.sweep.outcomes import Outcome
from fmnist_jax.reporting.sweep.points import GridPoint, find_winner, group, ties
from fmnist_jax.reporting.sweep.table import accuracy, to_text

# Of more runs that diverged, or seeds to evaluate, the first are named.
_MAX_NAMED = 5


def finish(
    folder: epath.Path,
    axes: Sequence[Axis],
    outcomes: Sequence[Outcome],
    log: Callable[[str], None] = console.log,
) -> None:
    """Writes the figure of the grid; prints the table, the winner and what comes next.

    Args:
      folder: of the sweep.
      axes: of its grid.
      outcomes: of all its runs, one at least, as `write_outcomes` was given them last.
      log: told what is printed.
    """
    points = group(outcomes)
    log(to_text(axes, points))
    for line in _sentences(axes, points):
        log(line)
    winner = find_winner(points)
    if winner is not None:
        for line in _commands(folder, winner):
            log(line)
    log(f'written: {folder / workdir_lib.SWEEP}')
    for path in write_grid_figure(folder, axes, outcomes):
        log(f'written: {path}')


def write_grid_figure(
    folder: epath.Path, axes: Sequence[Axis], outcomes: Sequence[Outcome]
) -> list[epath.Path]:
    """Writes the figure of the grid as `grid.png` and `grid.pdf`.

    Args:
      folder: of the sweep.
      axes: of its grid.
      outcomes: of all its runs, one at least.

    Returns:
      The files.
    """
    # Matplotlib takes half a second to import: not before training.
    from fmnist_jax.reporting.figures import style  # noqa: PLC0415
    from fmnist_jax.reporting.figures.grid import grid_figure  # noqa: PLC0415

    figure = grid_figure(axes, group(outcomes))
    contents = {'grid.png': style.to_png(figure), 'grid.pdf': style.to_pdf(figure)}
    for name, content in contents.items():
        workdir_lib.write_bytes(folder / name, content)
    return [folder / name for name in contents]


def _sentences(axes: Sequence[Axis], points: Sequence[GridPoint]) -> Iterator[str]:
    diverged = [o for p in points for o in p.outcomes if o.status == 'diverged']
    if diverged:
        yield (
            f'{len(diverged)} of {sum(len(p.outcomes) for p in points)} runs have '
            'diverged; the points where fewer did come first.'
        )
    for outcome in diverged[:_MAX_NAMED]:
        yield f'diverged: {outcome.workdir}: {outcome.error or "no reason is known"}'
    if len(diverged) > _MAX_NAMED:
        yield f'diverged: {len(diverged) - _MAX_NAMED} others; see {workdir_lib.SWEEP}'
    winner = find_winner(points)
    if winner is None:
        yield 'There is no winner: no run has finished.'
    elif axes:
        yield (
            f'winner: {describe(winner.overrides, axes)}, with a validation accuracy '
            f'of {accuracy(winner)} %'
        )
        if others := ties(points, winner):
            names = [describe(point.overrides, axes) for point in others[:_MAX_NAMED]]
            more = len(others) - len(names)
            rest = f'; and {more} others' if more else ''
            yield f'As good, but later in the grid: {"; ".join(names)}{rest}.'


def _commands(folder: epath.Path, winner: GridPoint) -> Iterator[str]:
    finished = [o.workdir for o in winner.outcomes if o.status == 'finished']
    for workdir in finished[:_MAX_NAMED]:
        yield f'evaluate: {command("evaluate", f"--workdir={workdir}")}'
    if len(finished) > _MAX_NAMED:
        yield f'evaluate: likewise the {len(finished) - _MAX_NAMED} other seeds'
    arguments = (f'{folder}', f'--output={folder / "comparison"}')
    yield f'compare: {command("compare", *arguments)}'
