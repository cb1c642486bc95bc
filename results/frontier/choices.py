"""Tables of results/frontier.md made of validation alone: trials, and ablations."""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from fmnist_jax.reporting.text import MISSING, config_value, markdown_table
from fmnist_jax.reporting.units import duration
from results.frontier.cells import count, missing, percents, row_named, values_of
from results.frontier.rows import ROWS, Row
from results.frontier.runs import Kept, paired, read_row


def choices_table(runs: Path) -> str:
    """A line for each trial, those of a row together, the best on validation first."""
    header = (
        *('chosen for', 'trial', 'what differs from its config', 'parameters'),
        *('validation, best', 'of epoch', 'last', 'training', ''),
    )
    lines = []
    for target in [row for row in ROWS if any(x.trial_of == row.name for x in ROWS)]:
        trials = [row for row in ROWS if row.trial_of == target.name]
        found = [(trial, read_row(runs, trial)) for trial in trials]
        found.sort(
            key=lambda one: -max(values_of(one[1], lambda x: x.validation) or [0])
        )
        is_decided = all(kept for _, kept in found)
        lines += [_choice(runs, target, *one, is_decided) for one in found]
    return markdown_table(header, lines)


def _choice(
    folder: Path, target: Row, trial: Row, kept: Mapping[int, Kept], is_decided: bool
) -> tuple[str, ...]:
    start = (f'`{target.name}`', f'`{trial.name}`', _changes(trial))
    # Not before all the trials are there.
    is_chosen = is_decided and target.chosen_from == trial.name
    runs = [one.run for one in kept.values() if one.run]
    if not runs:
        return (*start, MISSING, missing(folder, trial), *[''] * 4)
    return (
        *start,
        f'{runs[0].num_parameters or 0:,}',
        percents([run.best['accuracy'] for run in runs]),
        ', '.join(str(run.best['epoch']) for run in runs),
        percents([run.lines('validation')[-1]['accuracy'] for run in runs]),
        duration(statistics.mean(run.seconds for run in runs)),
        _verdict(target) if is_chosen else '',
    )


def _verdict(target: Row) -> str:
    trials = [row for row in ROWS if row.trial_of == target.name]
    return '**chosen**' if len(trials) > 1 else 'the only trial'


def _changes(row: Row) -> str:
    """The fields of a row's config that it sets, in words."""
    words = [f'`{k}` {config_value(value)}' for k, value in row.overrides.items()]
    if row.teachers:
        words.append(f'taught by {", ".join(row.teachers)}')
    return '; '.join(words) or 'nothing'


def ablations_table(runs: Path) -> str:
    """A line for each part of a recipe, beside the same seeds without it."""
    header = (
        *('part', 'row', 'parameters', 'validation'),
        *('beside', 'its parameters', 'its validation', 'difference (points)'),
        *('seeds', 'time of an epoch, ratio'),
    )
    lines = []
    for row in [row for row in ROWS if row.compared_with]:
        kept, base = read_row(runs, row), read_row(runs, row_named(row.compared_with))
        pairs = [
            (one, other)
            for one, other in paired(kept, base)
            if one.validation is not None and other.validation is not None
        ]
        names = f'`{row.name}`', f'`{row.compared_with}`'
        if not pairs:
            cells = (names[0], *[MISSING] * 2, names[1], *[MISSING] * 2)
            lines.append((row.title, *cells, missing(runs, row), '', ''))
            continue
        lines.append(
            (
                row.title,
                *(
                    cell
                    for name, side in zip(names, zip(*pairs, strict=True), strict=True)
                    for cell in (name, *_size_and_validation(side))
                ),
                paired_difference(
                    [100 * (one.validation - other.validation) for one, other in pairs]
                ),
                count(runs, row, len(pairs)),
                _epoch_ratio(row, pairs),
            )
        )
    return markdown_table(header, lines)


def _size_and_validation(kept: Sequence[Kept]) -> tuple[str, str]:
    size = kept[0].num_parameters
    return (
        MISSING if size is None else f'{size:,}',
        percents([one.validation for one in kept]),
    )


def paired_difference(differences: Sequence[float]) -> str:
    """The mean of differences between runs of the same seed ± its standard error.

    That is s / √n, where s is their standard deviation (n - 1).
    """
    mean = f'{statistics.mean(differences):+.2f}'
    if len(differences) < 2:
        return mean
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return f'{mean} ± {error:.2f}'


def _epoch_ratio(row: Row, pairs: Sequence[tuple[Kept, Kept]]) -> str:
    """The median of the ratios of the median epochs' speeds, on the same devices."""
    if not row.config or any(
        one.run.devices != other.run.devices for one, other in pairs
    ):
        return MISSING
    ratios = [
        other.run.images_per_second / one.run.images_per_second for one, other in pairs
    ]
    return f'{statistics.median(ratios):.2f}'
