"""What is minimised of an example: cross-entropy, and divergence from teachers."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int32, PyTree, UInt8

from fmnist_jax.training.hyperparameters import Number
from fmnist_jax.training.inference import ModelFunctions, log_probabilities


def cross_entropy(
    logits: Float[Array, 'b classes'],
    labels: Int32[Array, ' b'] | Float[Array, 'b classes'],
    smoothing: Number,
) -> tuple[Float[Array, ' b'], Float[Array, ' b']]:
    """Cross-entropy with smoothed labels, which is minimised, and as it is reported.

    Label smoothing: Szegedy et al. (2016), https://arxiv.org/abs/1512.00567.

    Args:
      logits: of each example.
      labels: classes, or where augmentation mixes images, shares of the classes.
      smoothing: the share of each label that is spread evenly over the classes.
    """
    log_predictions = jax.nn.log_softmax(logits)
    if labels.ndim == 1:
        picked = jnp.take_along_axis(log_predictions, labels[:, None], axis=-1)
        losses = -picked[:, 0]
    else:
        losses = -(labels * log_predictions).sum(-1)
    smoothed = (1 - smoothing) * losses - smoothing * log_predictions.mean(-1)
    return smoothed, losses


def distillation(
    teachers: Sequence[ModelFunctions],
    variables: Sequence[dict[str, PyTree]],
    images: UInt8[Array, 'b h w c'],
    logits: Float[Array, 'b classes'],
    temperature: Number,
) -> Float[Array, ' b']:
    """How far a student is from its teachers, at a temperature.

    The Kullback-Leibler divergence of the softened probabilities, times the squared
    temperature, so that gradients keep their size (Hinton et al., 2015,
    https://arxiv.org/abs/1503.02531). The teachers see the student's own augmented
    images (Beyer et al., 2022, https://arxiv.org/abs/2106.05237).

    Args:
      teachers: the static parts of each.
      variables: `params` and `batch_stats` of each.
      images: raw, as augmented.
      logits: the student's.
      temperature: what logits are divided by.
    """
    softened = [
        jax.nn.softmax(log_probabilities(one, **two, images=images) / temperature)
        for one, two in zip(teachers, variables, strict=True)
    ]
    targets = sum(softened) / len(softened)
    predictions = jax.nn.log_softmax(logits / temperature)
    divergence = optax.losses.kl_divergence(predictions, targets.astype(logits.dtype))
    return temperature**2 * divergence
