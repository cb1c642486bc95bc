"""Grids, and outcomes of their runs that nobody trained."""

import itertools
import math
from collections.abc import Callable

import numpy as np

from fmnist_jax.grid import Axis, canonical
from fmnist_jax.reporting.sweep.outcomes import Outcome

RATES = Axis('optimizer.learning_rate', (0.1, 0.001, 0.01))
SIZES = Axis('batch_size', (100, 500))
GRID = (RATES, SIZES)
LONG = Axis(
    'augmentation',
    tuple(
        ({'name': 'horizontal_flip'}, {'name': 'pad_and_crop', 'padding': padding})
        for padding in (2, 4)
    ),
)


def always(accuracy: float) -> Callable[..., float]:
    return lambda overrides, seed: accuracy


def random(overrides, seed) -> float:
    """A fixed number for each run."""
    text = canonical(overrides) + str(seed)
    return 0.8 + 0.1 * np.random.default_rng(list(text.encode())).random()


def outcomes_of(
    axes=GRID, seeds=3, accuracy=random, diverged=lambda overrides, seed: False
) -> list[Outcome]:
    """Those of a whole grid."""
    outcomes = []
    for values in itertools.product(*(axis.values for axis in axes)):
        overrides = {a.field: value for a, value in zip(axes, values, strict=True)}
        for seed in range(seeds):
            end = {
                'status': 'finished',
                'validation_accuracy': accuracy(overrides, seed),
            }
            if diverged(overrides, seed):
                end = {
                    'status': 'diverged',
                    'error': 'the loss at step 7 is not finite',
                }
            name = f'runs/grid/{len(outcomes)}'
            outcomes.append(Outcome(name, overrides, seed, **end))
    return outcomes


def arrays(axes, outcomes, seeds=3) -> np.ndarray:
    """Accuracies by place in the grid and seed; NaN for what diverged."""
    values = [
        math.nan if outcome.status == 'diverged' else outcome.validation_accuracy
        for outcome in outcomes
    ]
    return np.array(values).reshape(*(len(axis.values) for axis in axes), seeds)
