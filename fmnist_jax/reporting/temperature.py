"""Temperature scaling: one number that makes a model as sure as it is right.

Guo et al. (2017), https://arxiv.org/abs/1706.04599. Logits are divided by a temperature
chosen on images that the model was not trained on; the predicted class stays.
"""

import math

import numpy as np
from jaxtyping import Float, Integer
from scipy import optimize, special

from fmnist_jax.reporting.metrics import loss_and_accuracy

# The temperature is looked for within this factor of 1. A model without a mistake gains
# from ever lower ones.
_MAX_FACTOR = 100.0


def fit_temperature(
    log_probabilities: Float[np.ndarray, 'n classes'], labels: Integer[np.ndarray, ' n']
) -> float:
    """The temperature of least mean cross-entropy.

    Cross-entropy is convex in the reciprocal of the temperature, so that it has one
    minimum over its logarithm, in which it is looked for: Brent's method.

    Args:
      log_probabilities: or logits, of images that the model was not trained on.
      labels: theirs.

    Returns:
      A number from 0.01 to 100.
    """
    logits = log_probabilities.astype(np.float64)

    def loss(log_temperature: float) -> float:
        scaled = scale(logits, math.exp(log_temperature))
        return loss_and_accuracy(scaled, labels)['loss']

    bound = math.log(_MAX_FACTOR)
    found = optimize.minimize_scalar(
        loss, bounds=(-bound, bound), method='bounded', options={'xatol': 1e-6}
    )
    return math.exp(found.x)


def scale(
    log_probabilities: Float[np.ndarray, 'n classes'], temperature: float
) -> Float[np.ndarray, 'n classes']:
    """Log-probabilities at a temperature, float64.

    Args:
      log_probabilities: or logits: a constant added to a row changes nothing.
      temperature: above 1 for less sure, below for surer.
    """
    logits = log_probabilities.astype(np.float64) / temperature
    return special.log_softmax(logits, axis=1)
