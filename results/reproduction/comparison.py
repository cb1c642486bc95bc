"""A recipe's kept runs beside what was published of it, and whether they agree."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from scipy import stats

from fmnist_jax.errors import unknown_name
from fmnist_jax.reporting.runs import Run
from results import significance
from results.reproduction.recipes import PROJECTS
from results.reproduction.recipes.recipe import METRICS, Reading, Recipe
from results.reproduction.runs import figures, read_recipe

# A training accuracy below is that of guessing one of ten classes; in per cent.
_CHANCE = 12.0


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A reading of a recipe's runs beside what was published.

    Attributes:
      recipe: of the runs.
      reading: of them.
      values: by metric, those of the runs that did not diverge and have it.
      num_kept: how many runs there are.
      num_diverged: how many of them diverged.
      fastest: the run that was trained in the shortest time; None where none was
        trained to its end.
    """

    recipe: Recipe
    reading: Reading
    values: Mapping[str, Sequence[float]]
    num_kept: int
    num_diverged: int
    fastest: Run | None

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

    def shown(self, metric: str) -> Sequence[float]:
        """The values of which a mean is told; none where there is none to tell.

        Where a run was published at chance, those of ours that are leave no mean that
        tells of both, so it is of the others.
        """
        values = self.values.get(metric, ())
        if not self.was_published_at_chance:
            return values
        accuracies = self.values['train_accuracy'] if values else ()
        pairs = zip(values, accuracies, strict=True)
        return [value for value, accuracy in pairs if accuracy >= _CHANCE]

    def num_without(self, metric: str) -> int:
        """How many runs did not diverge, and have no value of a metric."""
        return self.num_kept - self.num_diverged - len(self.values[metric])

    @property
    def is_complete(self) -> bool:
        """Whether all runs of the recipe are there."""
        return self.num_kept == self.recipe.num_seeds

    def limit(self, metric: str) -> float | None:
        """How far a further run may be from the mean; see results/significance.py."""
        return significance.limit(self.values.get(metric, ()))

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
    def num_beyond_by_chance(self) -> float:
        """How many of them chance alone would put beyond, were all recipes the same.

        The distance of a further run from the mean, over s·√(1 + 1/n), is distributed
        as Student's t with n - 1 degrees of freedom.
        """
        sizes = [len(self.values[metric]) for metric in self.judged]
        return float(sum(2 * stats.t.sf(2, size - 1) for size in sizes))

    @property
    def beyond(self) -> list[str]:
        """Those of them that are farther from our mean than `limit`."""
        published = self.reading.published
        return [
            metric
            for metric in self.judged
            if significance.is_beyond(float(published[metric]), self.values[metric])
        ]


def compare(runs: Path, recipe: Recipe) -> list[Comparison]:
    """All readings of a recipe's kept runs.

    Raises:
      UserError: they are not what the readings ask for; see `runs.figures`.
    """
    kept = read_recipe(runs, recipe)
    finished = [one for one in kept if not one.diverged]
    trained = [one.run for one in finished if one.run]
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
                min(trained, key=lambda run: run.seconds, default=None),
            )
        )
    return comparisons


def read_project(runs: Path, project: str) -> list[Comparison]:
    """All readings of a project's recipes.

    Raises:
      UserError: there is no such project; and as `compare`.
    """
    if project not in PROJECTS:
        raise unknown_name('project', project, PROJECTS)
    return [one for recipe in PROJECTS[project] for one in compare(runs, recipe)]


def read_all(runs: Path, projects: str) -> list[list[Comparison]]:
    """All readings of each project; `projects` is `all`.

    Raises:
      UserError: as `compare`.
    """
    del projects
    return [read_project(runs, project) for project in PROJECTS]
