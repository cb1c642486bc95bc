"""The figure of results/reproduction.md: S4's grid, as `sweep` draws one.

`python -m results.tables` writes it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fmnist_jax.grid import Axis
from fmnist_jax.reporting.figures import style
from fmnist_jax.reporting.figures.grid import grid_figure
from fmnist_jax.reporting.sweep.outcomes import Outcome
from fmnist_jax.reporting.sweep.points import group
from results.figure_files import with_data
from results.reproduction.recipes import RECIPES
from results.reproduction.recipes.recipe import Recipe
from results.reproduction.runs import read_recipe

_NAME = 's4_grid.png'


def read(runs: Path) -> dict[str, list[dict[str, Any]]]:
    """What the figure shows: `overrides`, `seed` and `accuracy` of each run.

    Args:
      runs: where small files are kept.

    Returns:
      Runs by the name of the figure's file; nothing if none is kept. Accuracies are
      fractions of the validation split, S4's test set, at the best epoch.
    """
    found = [one for recipe in _recipes() for one in _read(runs, recipe)]
    return {_NAME: found} if found else {}


def _recipes() -> list[Recipe]:
    return [recipe for recipe in RECIPES if recipe.project == 'S4']


def _read(runs: Path, recipe: Recipe) -> list[dict[str, Any]]:
    return [
        {
            'overrides': dict(recipe.overrides),
            'seed': kept.run.config['seed'],
            'accuracy': kept.run.best['accuracy'],
        }
        for kept in read_recipe(runs, recipe)
        if kept.run
    ]


def draw(name: str, runs: Sequence[Mapping[str, Any]]) -> bytes:
    """A figure as PNG, with its data in it.

    Args:
      name: of its file.
      runs: as `read` gives them; one at least.
    """
    outcomes = [
        Outcome(
            workdir=name,
            overrides=run['overrides'],
            seed=run['seed'],
            status='finished',
            validation_accuracy=run['accuracy'],
        )
        for run in runs
    ]
    points = group(outcomes)
    axes = [
        Axis(field, tuple(dict.fromkeys(point.overrides[field] for point in points)))
        for field in points[0].overrides
    ]
    return with_data(style.to_png(grid_figure(axes, points)), runs)
