"""Published figures beside ours: tables and sentences made of kept runs.

`python -m results.tables` puts them into results/reproduction.md and the docstrings of
configs/seeds/.
"""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from fmnist_jax.reporting.text import MISSING, markdown_table, spread
from fmnist_jax.reporting.units import duration
from results import frameworks
from results.figures import figures, read_recipe
from results.recipes import PROJECTS, RECIPES, Reading, Recipe

# In the order of the columns: what a table calls a metric, its digits and its unit.
METRICS: Mapping[str, tuple[str, int, str]] = MappingProxyType(
    {
        'train_loss': ('train loss', 4, ''),
        'train_accuracy': ('train accuracy', 2, ' %'),
        'validation_accuracy': ('validation accuracy', 2, ' %'),
        'test_loss': ('test loss', 4, ''),
        'test_accuracy': ('test accuracy', 2, ' %'),
        'shirt_f1': ('F1 of Shirt', 2, ' %'),
        'learning_rate': ('learning rate', 5, ''),
    }
)
# A training accuracy below is that of guessing one of ten classes; in per cent.
_CHANCE = 12.0


class UnexplainedError(Exception):
    """A published figure and ours differ by more than chance, and nothing says why."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A reading of a recipe's runs beside what was published.

    Attributes:
      recipe: of the runs.
      reading: of them.
      values: by metric, those of the runs that did not diverge and have it.
      num_kept: how many runs there are.
      num_diverged: how many of them diverged.
      seconds: of training, of the fastest run; None where that is not known.
    """

    recipe: Recipe
    reading: Reading
    values: Mapping[str, Sequence[float]]
    num_kept: int
    num_diverged: int
    seconds: float | None

    @property
    def title(self) -> str:
        """What the tables call it."""
        return ', '.join(filter(None, (self.recipe.title, self.reading.title)))

    @property
    def num_at_chance(self) -> int:
        """How many runs have learned nothing, to tell one class of ten from others."""
        accuracies = self.values.get('train_accuracy', ())
        return sum(accuracy < _CHANCE for accuracy in accuracies)

    @property
    def was_published_at_chance(self) -> bool:
        """Whether the project's own run has learned nothing."""
        published = self.reading.published
        return float(published.get('train_accuracy', 'inf')) < _CHANCE

    def num_without(self, metric: str) -> int:
        """How many runs did not diverge, and have no value of a metric."""
        return self.num_kept - self.num_diverged - len(self.values[metric])

    @property
    def is_complete(self) -> bool:
        """Whether all runs of the recipe are there."""
        return self.num_kept == self.recipe.num_seeds

    def limit(self, metric: str) -> float | None:
        """How far a further run may be from the mean: 2·s·√(1 + 1/n).

        s is the runs' standard deviation (n - 1). None if there is no spread to go by,
        of fewer than two runs.
        """
        values = self.values.get(metric, ())
        if len(values) < 2:
            return None
        return 2 * statistics.stdev(values) * math.sqrt(1 + 1 / len(values))

    @property
    def judged(self) -> list[str]:
        """The metrics whose published figures are compared with ours.

        None before all runs of the recipe are there.
        """
        published = self.reading.published if self.is_complete else ()
        return [
            metric
            for metric in published
            if metric not in self.reading.not_judged and self.limit(metric) is not None
        ]

    @property
    def beyond(self) -> list[str]:
        """Those of them that are farther from our mean than `limit`."""
        published = self.reading.published
        return [
            metric
            for metric in self.judged
            if abs(statistics.mean(self.values[metric]) - float(published[metric]))
            > self.limit(metric)
        ]


@dataclasses.dataclass(frozen=True)
class Framework:
    """What another framework's runs came to.

    Attributes:
      name: of the framework.
      rows: of each recipe that it trained, our runs, and figures of its own seeds.
    """

    name: str
    rows: Sequence[tuple[Comparison, Sequence[Mapping[str, float]]]]


def compare(runs: Path, recipe: Recipe) -> list[Comparison]:
    """All readings of a recipe's kept runs."""
    kept = read_recipe(runs, recipe)
    finished = [one for one in kept if not one.diverged]
    seconds = [one.run.seconds for one in finished if one.run]
    comparisons = []
    for reading in recipe.readings:
        found = [figures(one, reading) for one in finished]
        comparisons.append(
            Comparison(
                recipe,
                reading,
                {
                    metric: [values[metric] for values in found if metric in values]
                    for metric in METRICS
                    if any(metric in values for values in found)
                },
                len(kept),
                len(kept) - len(finished),
                min(seconds, default=None),
            )
        )
    return comparisons


def read_project(runs: Path, project: str) -> list[Comparison]:
    """All readings of a project's recipes."""
    recipes = [recipe for recipe in RECIPES if recipe.project == project]
    return [one for recipe in recipes for one in compare(runs, recipe)]


def read_all(runs: Path, projects: str) -> list[list[Comparison]]:
    """All readings of each project; `projects` is `all`."""
    del projects
    return [read_project(runs, project) for project in PROJECTS]


def agreement_table(projects: Sequence[Sequence[Comparison]]) -> str:
    """A line for each project: how many of its figures agree with ours."""
    rows = []
    for comparisons in projects:
        recipes = {c.recipe.name: c for c in comparisons}.values()
        complete = sum(c.is_complete for c in recipes)
        rows.append(
            (
                comparisons[0].recipe.project,
                f'{complete} of {len(recipes)}',
                sum(c.num_kept for c in recipes),
                sum(len(c.judged) for c in comparisons),
                sum(len(c.beyond) for c in comparisons),
            )
        )
    header = ('', 'rows measured', 'runs', 'published figures', 'of them beyond')
    return markdown_table(header, rows)


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
            cells = [_published(published, metric) for metric in metrics]
            number = '1, 1 at chance' if comparison.was_published_at_chance else ''
            rows.append([comparison.title, 'published', *cells, number, ''])
        cells = [_ours(comparison, metric) for metric in metrics]
        title = '' if published else comparison.title
        rows.append([title, 'here', *cells, *_runs_and_time(comparison)])
    header = ('run', '', *names, 'runs', 'fastest')
    return f'{markdown_table(header, rows)}\n{_differences(comparisons)}'


def read_framework(runs: Path, group: str) -> Framework:
    """Recipes that another framework trained too, and what its seeds came to.

    Args:
      runs: `results/runs`.
      group: the folder there that results/in_pytorch.py or in_keras.py writes.
    """
    found = []
    for recipe in RECIPES:
        if seeds := frameworks.read(runs, group, recipe.name):
            comparison = compare(runs, recipe)[0]
            epoch = comparison.reading.epoch
            found.append((comparison, [frameworks.select(x, epoch) for x in seeds]))
    return Framework({'in_pytorch': 'PyTorch', 'in_keras': 'Keras'}[group], found)


def framework_table(framework: Framework) -> str:
    """Published figures, another framework's and ours, of the same epoch."""
    lines = []
    for comparison, seeds in framework.rows:
        for metric, published in comparison.reading.published.items():
            name, digits, unit = METRICS[metric]
            values = [seed[metric] for seed in seeds if metric in seed]
            if not values:
                continue
            lines.append(
                (
                    comparison.recipe.title,
                    name,
                    _published({metric: published}, metric),
                    f'{spread(values, digits)}{unit} ({len(values)})',
                    f'{_ours(comparison, metric)} ({comparison.num_kept})',
                )
            )
    header = ('run', '', 'published', f'{framework.name} here', 'ours')
    return markdown_table(header, lines)


def _published(published: Mapping[str, str], metric: str) -> str:
    return published[metric] + METRICS[metric][2] if metric in published else ''


def _ours(comparison: Comparison, metric: str) -> str:
    if metric not in comparison.values:
        return MISSING if metric in comparison.reading.published else ''
    _, digits, unit = METRICS[metric]
    text = f'{spread(comparison.values[metric], digits)}{unit}'
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
        number += f', {comparison.num_at_chance} at chance'
    if comparison.is_complete and num_kept == 1:
        number += ': no spread to judge by'
    seconds = comparison.seconds
    return number, '' if seconds is None else duration(seconds)


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
            f'{_published(reading.published, metric)} and is '
            f'{spread(comparison.values[metric], digits)}{unit} here; find out why, '
            'and say so in `explanations` of that reading in results/recipes.py'
        )
    return (
        f'- {comparison.title}: {name} {_published(reading.published, metric)} '
        f'published, {spread(comparison.values[metric], digits)}{unit} here, limit '
        f'± {comparison.limit(metric):.{digits}f}. {reading.explanations[metric]}'
    )


def claims(runs: Path, config_name: str) -> list[str]:
    """What the docstring of a config says of its recipes: a sentence for each."""
    recipes = [recipe for recipe in RECIPES if recipe.config_name == config_name]
    sentences = []
    for comparison in (one for recipe in recipes for one in compare(runs, recipe)):
        if 'test_accuracy' not in comparison.reading.published:
            continue
        published = _published(comparison.reading.published, 'test_accuracy')
        ours = 'not measured yet'
        if comparison.recipe.not_run:
            ours = f'not measured: {comparison.recipe.not_run}'
        if comparison.num_kept:
            ours = f'all {comparison.num_kept} runs diverged'
        if values := comparison.values.get('test_accuracy'):
            ours = f'here {spread(values, 2)} % (n = {len(values)})'
        sentences.append(f'{comparison.title}: test accuracy {published}, {ours}.')
    return sentences
