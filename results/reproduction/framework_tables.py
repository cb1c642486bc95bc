"""Tables of results/reproduction.md: a recipe in another framework, beside ours."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from fmnist_jax.errors import unknown_name
from fmnist_jax.reporting.text import MISSING, markdown_table, spread
from results import significance
from results.reproduction import frameworks
from results.reproduction.comparison import Comparison, compare
from results.reproduction.recipes import RECIPES
from results.reproduction.recipes.recipe import METRICS, Recipe
from results.reproduction.tables import our_cell, published_cell

_OWN_SEED_METRICS = ('train_loss', 'train_accuracy', 'test_loss', 'test_accuracy')


@dataclasses.dataclass(frozen=True)
class Framework:
    """What another framework's runs came to.

    Attributes:
      name: of the framework.
      rows: of each recipe that it trained, our runs, and figures of its own seeds.
    """

    name: str
    rows: Sequence[tuple[Comparison, Sequence[Mapping[str, float]]]]


def read_framework(runs: Path, group: str) -> Framework:
    """Recipes that another framework trained too, and what its seeds came to.

    Args:
      runs: `results/runs`.
      group: one of `frameworks.GROUPS`.

    Raises:
      UserError: it is none of them.
    """
    name = _name(group)
    found = []
    for recipe in RECIPES:
        if seeds := frameworks.read(runs, group, recipe.name):
            comparison = compare(runs, recipe)[0]
            epoch = comparison.reading.epoch
            epochs = [values['epochs'] for values in seeds.values()]
            found.append((comparison, [frameworks.select(x, epoch) for x in epochs]))
    return Framework(name, found)


def _name(group: str) -> str:
    if group not in frameworks.GROUPS:
        raise unknown_name('framework', group, frameworks.GROUPS)
    return frameworks.GROUPS[group]


def framework_table(framework: Framework) -> str:
    """Published figures, another framework's and ours, of the same epoch.

    And the difference of the latter's means; and how far what was published is from the
    mean of all runs, theirs and ours, beside their limit.
    """
    header = (
        *('run', '', 'published', f'{framework.name} here', 'ours'),
        *(f'{framework.name} - ours', 'p', 'published - all', 'limit of all'),
    )
    lines = [
        (comparison.recipe.title, *_line(comparison, metric, values))
        for comparison, seeds in framework.rows
        for metric in comparison.reading.published
        if (values := [seed[metric] for seed in seeds if metric in seed])
    ]
    return markdown_table(header, lines)


@dataclasses.dataclass(frozen=True)
class OwnSeeds:
    """What another framework's runs by a project's own seed came to.

    Attributes:
      name: of the framework.
      rows: of each recipe that it trained so, the seed and its figures.
    """

    name: str
    rows: Sequence[tuple[Recipe, int, Mapping[str, float]]]


def read_own_seeds(runs: Path, group: str) -> OwnSeeds:
    """What is kept, of the epoch of each recipe's first reading.

    Args:
      runs: `results/runs`.
      group: one of `frameworks.GROUPS`.

    Raises:
      UserError: it is none of them.
    """
    name = _name(group)
    rows = []
    for recipe in RECIPES:
        if kept := frameworks.read_own_seed(runs, group, recipe.name):
            epoch = frameworks.select(kept['epochs'], recipe.readings[0].epoch)
            rows.append((recipe, kept['seed'], epoch))
    return OwnSeeds(name, rows)


def own_seeds_table(found: OwnSeeds) -> str:
    """What was published, and the framework's figures by the same seed below it."""
    lines = []
    for recipe, seed, values in found.rows:
        published = recipe.readings[0].published
        cells = [published_cell(published, metric) for metric in _OWN_SEED_METRICS]
        lines.append((recipe.title, 'published', *cells))
        cells = [_cell(metric, values[metric]) for metric in _OWN_SEED_METRICS]
        lines.append(('', f'{found.name} here, seed {seed}', *cells))
    header = ('run', '', *(METRICS[metric][0] for metric in _OWN_SEED_METRICS))
    return markdown_table(header, lines)


def _cell(metric: str, value: float) -> str:
    _, digits, unit = METRICS[metric]
    return f'{value:.{digits}f}{unit}'


def _line(
    comparison: Comparison, metric: str, values: Sequence[float]
) -> tuple[str, ...]:
    name, digits, unit = METRICS[metric]
    published = comparison.reading.published
    ours = comparison.values.get(metric, ())
    together = (*values, *ours)
    limit = significance.limit(together)
    difference = float(published[metric]) - statistics.mean(together)
    distance = f'{difference:+.{digits}f}'
    num_planned = min(frameworks.NUM_SEEDS, comparison.recipe.num_seeds)
    is_complete = len(values) >= num_planned
    # As our own rows, not before all its runs are there.
    is_judged = is_complete and comparison.is_complete
    if is_judged and significance.is_beyond(float(published[metric]), together):
        distance = f'**{distance}**'
    number = f'{len(values)}'
    if not is_complete:
        number += f' of {num_planned} so far'
    return (
        name,
        published_cell(published, metric),
        f'{spread(values, digits)}{unit} ({number})',
        f'{our_cell(comparison, metric)} ({comparison.num_kept})',
        *(significance.difference(values, ours, digits) if ours else [MISSING] * 2),
        distance,
        MISSING if limit is None else f'{limit:.{digits}f}',
    )
