"""The recipes of five public projects, S0 to S4, and the figures they published.

Where the projects are, and what their figures do not say, is in
results/reproduction.md. The figures are from the projects' logs; which epoch they are
of, and how they were computed, from their code. Accuracies and F1 scores are in per
cent, as in the tables.
"""

from collections.abc import Mapping
from types import MappingProxyType

from results.reproduction.recipes import s0, s1, s2, s3, s4
from results.reproduction.recipes.recipe import Recipe

PROJECTS: Mapping[str, tuple[Recipe, ...]] = MappingProxyType(
    {
        'S0': s0.RECIPES,
        'S1': s1.RECIPES,
        'S2': s2.RECIPES,
        'S3': s3.RECIPES,
        'S4': s4.RECIPES,
    }
)
RECIPES = tuple(recipe for recipes in PROJECTS.values() for recipe in recipes)
