"""What the tables of results/frontier.md have in common; what is missing, and means."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fmnist_jax.reporting.text import spread
from results.frontier.rows import ACCELERATOR, Row
from results.frontier.runs import Kept, num_diverged, source


def read(runs: Path, group: str) -> Path:
    """Where the runs of all rows are; `group` is `all`, or a row that is scored."""
    del group
    return runs


def missing(runs: Path, row: Row) -> str:
    """What stands for the figures of a row that has none."""
    if diverged := num_diverged(runs, row):
        return f'{diverged} diverged'
    if row.needs == ACCELERATOR:
        return 'not measured: needs an accelerator'
    return 'not measured'


def row_named(name: str) -> Row:
    """The row of a name."""
    return source(name, 0)[0]


def percents(values: Sequence[float], digits: int = 2) -> str:
    """Fractions as per cent, mean ± standard deviation (n - 1)."""
    return f'{spread([100 * value for value in values], digits)} %'


def values_of(
    kept: Mapping[int, Kept], of: Callable[[Kept], float | None]
) -> list[float]:
    """What `of` gives for each run that has it, by seed."""
    return [value for one in kept.values() if (value := of(one)) is not None]


def count(runs: Path, row: Row, number: int) -> str:
    """How many runs figures are of, of how many, and how many diverged."""
    text = str(number) if number == row.num_seeds else f'{number} of {row.num_seeds}'
    diverged = num_diverged(runs, row)
    return f'{text}, {diverged} diverged' if diverged else text
