"""The table of results/frontier.md that says what was tried: trials, on validation."""

import statistics
from collections.abc import Mapping
from pathlib import Path

from fmnist_jax.reporting.text import MISSING, config_value, markdown_table
from fmnist_jax.reporting.units import duration
from results.frontier.cells import missing, percents
from results.frontier.rows import ROWS, Row
from results.frontier.runs import Kept, mean_validation, num_diverged, read_row


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
        found.sort(key=lambda one: -mean_validation(one[1]))
        is_decided = all(kept or num_diverged(runs, trial) for trial, kept in found)
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
