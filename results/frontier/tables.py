"""Tables of results/frontier.md: goals, calibration, robustness, time; elsewhere."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fmnist_jax.reporting.text import MISSING, markdown_table, spread
from fmnist_jax.reporting.units import duration
from results.frontier.cells import count, missing, percents, row_named, values_of
from results.frontier.rows import (
    ECE_ELSEWHERE,
    ECE_GOAL,
    FIVE_MINUTES,
    GOALS,
    ROWS,
    Goal,
    Row,
)
from results.frontier.runs import members, read_row, shortest_seconds

# What `benchmarks.time_to_accuracy` measured on a GPU, in results/runs.
TIME_TO_ACCURACY = 'time_to_accuracy.json'


def goals_table(runs: Path) -> str:
    """A line for each row of each goal."""
    header = (
        *('goal', 'best elsewhere', 'goal, test', 'row', 'parameters', 'validation'),
        *('test', 'gap to the goal', 'runs', 'training', 'command'),
    )
    lines = []
    for goal in GOALS:
        for number, name in enumerate((*goal.rows, *goal.others)):
            start = ('', '', '')
            if number == 0:
                start = (goal.title, f'{goal.elsewhere} %', f'{goal.goal:.1f} %')
            lines.append((*start, *_goal_cells(runs, row_named(name), goal)))
    return markdown_table(header, lines)


def _goal_cells(runs: Path, row: Row, goal: Goal) -> tuple[str, ...]:
    kept = read_row(runs, row)
    command = f'`python -m results.frontier {row.name} --workdir=runs/frontier`'
    test = values_of(kept, lambda one: one.test)
    if not test:
        return (f'`{row.name}`', *[MISSING] * 2, missing(runs, row), *[''] * 3, command)
    numbers = sorted({one.num_parameters for one in kept.values()})
    validation = values_of(kept, lambda one: one.validation)
    gap = 100 * statistics.mean(test) - goal.goal
    return (
        f'`{row.name}`',
        ', '.join(f'{number:,}{_over(number, goal)}' for number in numbers),
        percents(validation) if validation else MISSING,
        f'**{percents(test)}**',
        f'{gap:+.2f}' if row.name in goal.rows else 'not judged',
        count(runs, row, len(test)),
        _shortest_training(runs, row),
        command,
    )


def _over(num_parameters: int, goal: Goal) -> str:
    # Of several views or models, the sizes tell how much was spent.
    return ' (over)' if goal.limit and num_parameters > goal.limit else ''


def _shortest_training(runs: Path, row: Row) -> str:
    """That of the fastest run, and where."""
    shortest = shortest_seconds(runs, row)
    if shortest is None:
        return MISSING
    trained = members(row) or [row]
    kept = [run for one in trained for run in read_row(runs, one).values()]
    devices = [one.run.devices for one in kept if one.run]
    where = sorted({f'{one["number"]} x {one["kind"]}' for one in devices})
    return ', '.join((duration(shortest), *where))


def calibration_table(runs: Path) -> str:
    """A line for each row of a goal: calibration before and after scaling."""
    header = (
        *('row', 'temperature', 'ECE', 'ECE after scaling', 'by chance alone'),
        *('best elsewhere', 'goal', 'gap to the goal'),
    )
    ends = (f'{ECE_ELSEWHERE:.3f}', f'{ECE_GOAL:.3f}')
    lines = []
    for goal in GOALS:
        for name in (*goal.rows, *goal.others):
            row = row_named(name)
            scores = [one.scores for one in read_row(runs, row).values()]
            scores = [x for x in scores if 'calibration' in x]
            if not scores:
                text = missing(runs, row)
                lines.append((f'`{name}`', *[MISSING] * 2, text, MISSING, *ends, ''))
                continue
            after = statistics.mean(x['calibration']['ece'] for x in scores)
            gap = f'{after - ECE_GOAL:+.4f}' if name in goal.rows else 'not judged'
            lines.append((f'`{name}`', *_calibration_cells(scores), *ends, gap))
    return markdown_table(header, lines)


def _calibration_cells(scores: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    scaled = [one['calibration'] for one in scores]
    by_chance = [chance_error(one['calibration_bins']) for one in scaled]
    return (
        spread([one['temperature'] for one in scaled], 3),
        spread([one['ece'] for one in scores], 4),
        f'**{spread([one["ece"] for one in scaled], 4)}**',
        f'{statistics.mean(by_chance):.4f}',
    )


def chance_error(bins: Sequence[Mapping[str, Any]]) -> float:
    """The calibration error that chance alone gives, as large as these bins are.

    Whoever is right as often as it is confident is off by √(2np(1-p)/π) of the n images
    of a bin on average, p their mean confidence: the mean deviation of a normal
    distribution of a binomial's variance.

    Args:
      bins: with a `count` and a mean `confidence` each, as
        `reporting.metrics.calibration_bins` gives them; one image at least.

    Returns:
      The sum over bins, as a share of all images.
    """
    deviations = [
        math.sqrt(2 * x['count'] * x['confidence'] * (1 - x['confidence']) / math.pi)
        for x in bins
    ]
    return sum(deviations) / sum(x['count'] for x in bins)


def robustness_table(runs: Path) -> str:
    """A line for each row that is scored under corruptions: means over seeds."""
    rows = [row for row in ROWS if row.is_robustness_scored]
    found = {
        row.name: [x.robustness for x in read_row(runs, row).values() if x.robustness]
        for row in rows
    }
    names = next((list(x[0]['corruptions']) for x in found.values() if x), [])
    header = ('row', 'clean', *(name.replace('_', ' ') for name in names), 'mean')
    lines = []
    for row in rows:
        results = found[row.name]
        if not results:
            lines.append(
                (f'`{row.name}`', missing(runs, row), *[''] * (len(names) + 1))
            )
            continue
        lines.append(
            (
                f'`{row.name}`',
                percents([x['clean_accuracy'] for x in results]),
                *(
                    percents([x['corruptions'][n]['mean'] for x in results])
                    for n in names
                ),
                f'**{percents([x["mean_corruption_accuracy"] for x in results])}**',
            )
        )
    return markdown_table(header, lines)


def time_table(runs: Path) -> str:
    """Seconds of training to 94 % on one GPU; what five minutes of two cores give."""
    header = ('what', 'on', 'training', 'test', 'runs', 'command')
    return markdown_table(header, [_gpu_cells(runs), _five_minutes_cells(runs)])


def _gpu_cells(runs: Path) -> tuple[str, ...]:
    what = '94 % on one GPU'
    path = runs / TIME_TO_ACCURACY
    command = (
        '`python -m benchmarks.time_to_accuracy --config=configs/frontier/speed.py '
        '--target=0.94 --runs=20 --output=results/runs/time_to_accuracy.json`'
    )
    report: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if not (report and _is_airbench_of_one_gpu(report)):
        return (what, '', 'not measured: needs an accelerator', '', '', command)
    timed, devices = report['runs'], report['devices']
    return (
        what,
        f'{devices["number"]} x {devices["kind"]}',
        f'{spread([run["seconds"] for run in timed], 2)} s',
        percents([run['accuracy'] for run in timed]),
        f'{len(timed)}, {report["summary"]["share_at_target"]:.0%} of them at least '
        f'{report["target"]:.1%}',
        command,
    )


def _is_airbench_of_one_gpu(report: dict[str, Any]) -> bool:
    devices = report['devices']
    return (
        (devices['platform'], devices['number']) == ('gpu', 1)
        and report['split'] == 'test'
        and report['target'] == 0.94
        and report['summary']['mean_reaches_target']
        and len(report['runs']) >= 20
    )


def _five_minutes_cells(runs: Path) -> tuple[str, ...]:
    row = row_named('five_minutes')
    what = 'the best in five minutes on two CPU cores'
    command = f'`python -m results.frontier {row.name} --workdir=runs/frontier`'
    kept = read_row(runs, row)
    test = values_of(kept, lambda one: one.test)
    if not test:
        return (what, '', missing(runs, row), '', '', command)
    times = [one.run.seconds for one in kept.values()]
    within = sum(time <= FIVE_MINUTES for time in times)
    devices = kept[min(kept)].run.devices
    return (
        what,
        f'{devices["number"]} x {devices["kind"]}',
        f'{spread(times, 1)} s, {within} of {len(times)} within 300 s',
        percents(test),
        count(runs, row, len(test)),
        command,
    )


def elsewhere_table(found: Sequence[Mapping[str, Any]]) -> str:
    """What is in results/frontier/elsewhere.json, the best first."""
    header = ('model', 'test', 'parameters', 'epochs', 'evidence', 'source')
    rows = []
    for entry in sorted(found, key=lambda entry: -entry['accuracy']):
        test = f'{100 * entry["accuracy"]:.2f}'
        if 'std' in entry:
            test += f' ± {100 * entry["std"]:.2f}'
        number = entry.get('num_parameters')
        rows.append(
            (
                entry['name'],
                f'{test} %',
                MISSING if number is None else f'{number:,}',
                entry.get('epochs', MISSING),
                'logs or repeated runs' if entry['is_evidenced'] else 'as claimed',
                entry['source'],
            )
        )
    return markdown_table(header, rows)


def read_elsewhere(runs: Path, group: str) -> list[dict[str, Any]]:
    """The figures of others; of what is beside these runs."""
    del runs, group
    return json.loads((Path(__file__).parent / 'elsewhere.json').read_text())
