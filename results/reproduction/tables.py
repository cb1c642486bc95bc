"""Published figures beside ours: tables and sentences made of kept runs.

`python -m results.tables` puts them into results/reproduction.md and the docstrings of
configs/seeds/.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fmnist_jax.errors import unknown_name
from fmnist_jax.reporting.runs import Run
from fmnist_jax.reporting.text import MISSING, markdown_table, spread
from fmnist_jax.reporting.units import duration
from results.reproduction.comparison import Comparison, compare
from results.reproduction.recipes import RECIPES
from results.reproduction.recipes.recipe import METRICS


class UnexplainedError(Exception):
    """A published figure and ours differ by more than chance, and nothing says why."""


def agreement_table(projects: Sequence[Sequence[Comparison]]) -> str:
    """A line for each project, and all: how many of its figures agree with ours."""
    rows = [(one[0].recipe.project, *_agreement(one)) for one in projects]
    rows.append(('all', *_agreement([c for one in projects for c in one])))
    header = (
        *('', 'rows measured', 'runs', 'figures judged'),
        *('of them beyond', 'by chance alone'),
    )
    return markdown_table(header, rows)


def _agreement(comparisons: Sequence[Comparison]) -> tuple[Any, ...]:
    recipes = {c.recipe.name: c for c in comparisons}.values()
    complete = sum(c.is_complete for c in recipes)
    return (
        f'{complete} of {len(recipes)}',
        sum(c.num_kept for c in recipes),
        sum(len(c.judged) for c in comparisons),
        sum(len(c.beyond) for c in comparisons),
        f'{sum(c.num_beyond_by_chance for c in comparisons):.1f}',
    )


def project_table(comparisons: Sequence[Comparison]) -> str:
    """Published figures and ours, a line each; then a line for each difference.

    Raises:
      UnexplainedError: nothing explains a difference.
    """
    shown = {m for c in comparisons for m in (*c.reading.published, *c.values)}
    metrics = [metric for metric in METRICS if metric in shown]
    names = (METRICS[metric][0] for metric in metrics)
    rows = []
    for comparison in comparisons:
        published = comparison.reading.published
        if published:
            cells = [published_cell(published, metric) for metric in metrics]
            number = '1, 1 at chance' if comparison.was_published_at_chance else ''
            rows.append([comparison.title, 'published', *cells, number, ''])
        cells = [our_cell(comparison, metric) for metric in metrics]
        title = '' if published else comparison.title
        rows.append([title, 'here', *cells, *_runs_and_time(comparison)])
    header = ('run', '', *names, 'runs', 'fastest')
    return f'{markdown_table(header, rows)}\n{_differences(comparisons)}'


def published_cell(published: Mapping[str, str], metric: str) -> str:
    """A metric as it was published, with its unit; '' if it was not."""
    return published[metric] + METRICS[metric][2] if metric in published else ''


def our_cell(comparison: Comparison, metric: str) -> str:
    """Our mean ± standard deviation of a metric; bold where it is beyond the limit."""
    shown = comparison.shown(metric)
    if not shown:
        return MISSING if metric in comparison.reading.published else ''
    _, digits, unit = METRICS[metric]
    text = f'{spread(shown, digits)}{unit}'
    if num_without := comparison.num_without(metric):
        text += f' ({num_without} without)'
    return f'**{text}**' if metric in comparison.beyond else text


def _runs_and_time(comparison: Comparison) -> tuple[str, str]:
    recipe, num_kept = comparison.recipe, comparison.num_kept
    if recipe.not_run and not num_kept:
        return f'not measured: {recipe.not_run}', ''
    if not num_kept:
        return 'not measured yet', ''
    number = str(num_kept)
    if not comparison.is_complete:
        number += f' of {recipe.num_seeds} so far'
    if comparison.num_diverged:
        number += f', {comparison.num_diverged} diverged'
    if comparison.num_at_chance:
        left_out = ', left out' if comparison.was_published_at_chance else ''
        number += f', {comparison.num_at_chance} at chance{left_out}'
    if comparison.is_complete and num_kept == 1:
        number += ': no spread to judge by'
    return number, _time(comparison.fastest)


def _time(run: Run | None) -> str:
    """What training took, and where it had one core alone, that."""
    if run is None:
        return ''
    is_slowed = run.provenance['host']['cores'] == 1
    return f'{duration(run.seconds)}{", one core" if is_slowed else ""}'


def _differences(comparisons: Sequence[Comparison]) -> str:
    lines = [_difference(c, metric) for c in comparisons for metric in c.beyond]
    judged = sum(len(c.judged) for c in comparisons)
    text = 'No row with published figures is complete yet.\n'
    if judged:
        text = f'Published figures beyond ours ± 2·s·√(1 + 1/n): {len(lines)} of '
        text += f'{judged}{":" if lines else "."}\n{_list(lines)}'
    reasons = [line for c in comparisons for line in _not_judged(c)]
    return text + (f'\nNot judged by that:\n{_list(reasons)}' if reasons else '')


def _list(lines: Sequence[str]) -> str:
    return '\n' + '\n'.join(lines) + '\n' if lines else ''


def _not_judged(comparison: Comparison) -> list[str]:
    """A line for each reason."""
    metrics: dict[str, list[str]] = {}
    for metric, reason in comparison.reading.not_judged.items():
        metrics.setdefault(reason, []).append(METRICS[metric][0])
    chance = ''
    if comparison.was_published_at_chance and comparison.num_kept:
        chance = (
            f' At chance: 1 of 1 published, {comparison.num_at_chance} of '
            f'{comparison.num_kept} here.'
        )
    return [
        f'- {comparison.title}: {", ".join(names)}. {reason}{chance}'
        for reason, names in metrics.items()
    ]


def _difference(comparison: Comparison, metric: str) -> str:
    reading, (name, digits, unit) = comparison.reading, METRICS[metric]
    if metric not in reading.explanations:
        raise UnexplainedError(
            f'{comparison.recipe.name} ({comparison.title}): {name} was published as '
            f'{published_cell(reading.published, metric)} and is '
            f'{spread(comparison.values[metric], digits)}{unit} here; find out why, '
            'and say so in `explanations` of that reading in '
            'results/reproduction/recipes/'
        )
    return (
        f'- {comparison.title}: {name} {published_cell(reading.published, metric)} '
        f'published, {spread(comparison.values[metric], digits)}{unit} here, limit '
        f'± {comparison.limit(metric):.{digits}f}. {reading.explanations[metric]}'
    )


def claims(runs: Path, config_name: str) -> list[str]:
    """What the docstring of a config says of its recipes: a sentence for each.

    Raises:
      UserError: there is no recipe of that config, or its runs are not what they
        should be; see `comparison.compare`.
    """
    names = {recipe.config_name for recipe in RECIPES}
    if config_name not in names:
        raise unknown_name('config', config_name, names)
    recipes = [recipe for recipe in RECIPES if recipe.config_name == config_name]
    sentences = []
    for comparison in (one for recipe in recipes for one in compare(runs, recipe)):
        if 'test_accuracy' not in comparison.reading.published:
            continue
        published = published_cell(comparison.reading.published, 'test_accuracy')
        ours = 'not measured yet'
        if comparison.recipe.not_run:
            ours = f'not measured: {comparison.recipe.not_run}'
        if comparison.num_kept:
            ours = f'all {comparison.num_kept} runs diverged or at chance'
        if values := comparison.shown('test_accuracy'):
            ours = f'here {spread(values, 2)} % (n = {len(values)})'
            if num_left_out := len(comparison.values['test_accuracy']) - len(values):
                ours += f', {num_left_out} others at chance'
        sentences.append(f'{comparison.title}: test accuracy {published}, {ours}.')
    return sentences
