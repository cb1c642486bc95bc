"""The table of results/frontier.md that says what each part of a recipe is worth."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from fmnist_jax.reporting.text import MISSING, markdown_table
from results.frontier.cells import count, missing, percents, row_named
from results.frontier.rows import ROWS, Row
from results.frontier.runs import Kept, read_row
from results.significance import difference, paired_difference


def ablations_table(runs: Path) -> str:
    """A line for each row that is compared with another, by validation accuracy."""
    header = (
        *('part', 'row', 'parameters', 'validation', 'seeds'),
        *('beside', 'its parameters', 'its validation', 'its seeds'),
        *('difference (points)', 'p', 'time of an epoch, ratio'),
    )
    rows = [row for row in ROWS if row.compared_with]
    return markdown_table(header, [_cells(runs, row) for row in rows])


def _cells(runs: Path, row: Row) -> tuple[str, ...]:
    beside = row_named(row.compared_with)
    kept, base = _judged(runs, row), _judged(runs, beside)
    is_paired = not row.config
    if is_paired:
        # The same weights, or some of them, on either side.
        seeds = kept.keys() & base.keys()
        kept, base = ({s: side[s] for s in sorted(seeds)} for side in (kept, base))
    if not kept or not base:
        return (
            *(row.title, f'`{row.name}`', *[MISSING] * 2, missing(runs, row)),
            *(f'`{beside.name}`', *[''] * 6),
        )
    sides = list(kept.values()), list(base.values())
    accuracies = [[100 * one.validation for one in side] for side in sides]
    compare = paired_difference if is_paired else difference
    return (
        *(row.title, *_side(runs, row, sides[0]), *_side(runs, beside, sides[1])),
        *(*compare(*accuracies), _epoch_ratio(*sides) if row.config else MISSING),
    )


def _judged(runs: Path, row: Row) -> dict[int, Kept]:
    found = read_row(runs, row)
    return {seed: one for seed, one in found.items() if one.validation is not None}


def _side(runs: Path, row: Row, kept: Sequence[Kept]) -> tuple[str, ...]:
    size = kept[0].num_parameters
    return (
        f'`{row.name}`',
        MISSING if size is None else f'{size:,}',
        percents([one.validation for one in kept]),
        count(runs, row, len(kept)),
    )


def _epoch_ratio(kept: Sequence[Kept], base: Sequence[Kept]) -> str:
    """Of the speeds of the median epochs, the runs' medians; on the same devices."""
    runs = [one.run for one in (*kept, *base)]
    if any(run.devices != runs[0].devices for run in runs):
        return MISSING
    speeds = [
        statistics.median(one.run.images_per_second for one in side)
        for side in (kept, base)
    ]
    return f'{speeds[1] / speeds[0]:.2f}'
