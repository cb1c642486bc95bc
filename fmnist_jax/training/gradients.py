"""The gradient of a batch's loss, over its parts and chunks and all the devices."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int32, Key, PyTree

from fmnist_jax.data.augmentation import Augmentation
from fmnist_jax.data.batches import Examples, example_keys, normalize, stream_key
from fmnist_jax.models.fields import with_dropout_rate
from fmnist_jax.training.chunks import sum_over_chunks
from fmnist_jax.training.hyperparameters import Hyperparameters
from fmnist_jax.training.inference import ModelFunctions, apply_model
from fmnist_jax.training.losses import cross_entropy, distillation
from fmnist_jax.training.parallel import AXIS, sum_over_devices
from fmnist_jax.training.state import TrainState


@dataclasses.dataclass(frozen=True)
class GradientFunctions(ModelFunctions):
    """What a gradient is made of: everything about it that is not a number.

    Attributes:
      augment: see `augmentation.make_augmentation`.
      teachers: trained models whose probabilities are to be met.
      is_sharpness_aware: whether it is taken uphill of the weights.
      chunk: examples of a device's part that are worked on at a time.
      in_loop: whether chunks, parts and steps are loops in the program, not a copy
        each.
    """

    augment: Augmentation
    teachers: tuple[ModelFunctions, ...]
    is_sharpness_aware: bool
    chunk: int
    in_loop: bool


class Inputs(NamedTuple):
    """What all the steps of a run share.

    Attributes:
      examples: the whole training split.
      teachers: `params` and `batch_stats` of each teacher.
    """

    examples: Examples
    teachers: tuple[dict[str, PyTree], ...] = ()


class BatchGradient(NamedTuple):
    """A batch's gradient, and what was found on the way.

    Attributes:
      gradient: mean over the batch, a tree as the parameters.
      loss: sum over the batch, without label smoothing and teachers.
      correct: how many were classified correctly, as a float.
      batch_stats: the running averages after it.
    """

    gradient: PyTree
    loss: Float[Array, '']
    correct: Float[Array, '']
    batch_stats: PyTree


def batch_gradient(
    functions: GradientFunctions,
    state: TrainState,
    hyperparameters: Hyperparameters,
    inputs: Inputs,
    indices: Int32[Array, 'parts local'],
) -> BatchGradient:
    """The gradient at a state; the same on all devices.

    Sharpness-aware minimisation (Foret et al., 2021, https://arxiv.org/abs/2010.01412)
    takes it `sam_radius` uphill along the whole batch's gradient; loss, accuracy and
    running averages are those of the weights themselves.

    Args:
      functions: what is static.
      state: before the update.
      hyperparameters: arrays.
      inputs: what all steps share.
      indices: this device's examples of each part of the batch.
    """
    h = hyperparameters
    model = with_dropout_rate(functions.model, h.dropout_rate)
    functions = dataclasses.replace(functions, model=model)
    found = _mean_over_batch(functions, state, h, inputs, indices)
    if not functions.is_sharpness_aware:
        return found
    uphill = h.sam_radius / (optax.tree.norm(found.gradient) + 1e-12)
    climbed = jax.tree.map(lambda p, g: p + uphill * g, state.params, found.gradient)
    there = state.replace(params=climbed)
    return found._replace(
        gradient=_mean_over_batch(functions, there, h, inputs, indices).gradient
    )


def _mean_over_batch(
    functions: GradientFunctions,
    state: TrainState,
    h: Hyperparameters,
    inputs: Inputs,
    indices: Int32[Array, 'parts local'],
) -> BatchGradient:
    def part(number: Any, batch_stats: PyTree, indices: Array) -> tuple[PyTree, PyTree]:
        # A part's examples stand together in the batch, whatever the devices.
        first = (number * num_devices + jax.lax.axis_index(AXIS)) * len(indices)
        positions = first + jnp.arange(len(indices), dtype=jnp.int32)
        keys = example_keys(h.seed, state.step, positions)
        images, labels = functions.augment(keys, inputs.examples, indices)
        key = jax.random.fold_in(stream_key(h.seed, 'dropout'), state.step)
        if num_parts > 1:
            key = jax.random.fold_in(key, number)
        loss_function = _make_loss(functions, batch_stats, h, inputs, key)
        gradient, (loss, correct, batch_stats) = sum_over_chunks(
            lambda *chunk: jax.grad(loss_function, has_aux=True)(state.params, *chunk),
            functions.chunk,
            functions.in_loop,
            normalize(images, functions.normalization, functions.precision.compute),
            labels,
            # Teachers normalise in their own way.
            *((images,) if functions.teachers else ()),
        )
        return (loss, correct, gradient), batch_stats

    num_devices, num_parts = jax.lax.axis_size(AXIS), len(indices)
    sums, batch_stats = _sum_over_parts(
        part, state.batch_stats, indices, functions.in_loop
    )
    loss, correct, gradient, batch_stats = sum_over_devices((*sums, batch_stats))
    batch = indices.size * num_devices
    return BatchGradient(
        gradient=jax.tree.map(lambda g: g / batch, gradient),
        loss=loss,
        correct=correct,
        # The same on all devices already, where the model has averaged over them.
        batch_stats=jax.tree.map(lambda x: x / num_devices, batch_stats),
    )


def _make_loss(
    functions: GradientFunctions,
    batch_stats: PyTree,
    h: Hyperparameters,
    inputs: Inputs,
    dropout_key: Key[Array, ''],
) -> Callable:
    """What is minimised: a function of parameters and a chunk's arrays, summed."""

    def loss_function(params, images, labels, raw_images=None):
        logits, new_stats = apply_model(
            functions,
            params,
            batch_stats,
            images,
            train=True,
            rngs={'dropout': dropout_key},
        )
        smoothed, losses = cross_entropy(logits, labels, h.label_smoothing)
        total = smoothed.sum()
        if functions.teachers:
            divergence = distillation(
                functions.teachers,
                inputs.teachers,
                raw_images,
                logits,
                h.distillation_temperature,
            )
            share = h.distillation_weight
            total = (1 - share) * total + share * divergence.sum()
        classes = labels if labels.ndim == 1 else labels.argmax(-1)
        correct = jnp.sum(logits.argmax(-1) == classes, dtype=losses.dtype)
        return total, (losses.sum(), correct, new_stats)

    return loss_function


def _sum_over_parts(
    function: Callable,
    batch_stats: PyTree,
    indices: Int32[Array, 'parts local'],
    in_loop: bool,
) -> tuple[PyTree, PyTree]:
    """Adds up over the parts of a batch; running averages go from part to part.

    Args:
      function: of a part's number, running averages and indices; gives sums and new
        running averages.
      batch_stats: before the first.
      indices: of each part.
      in_loop: whether the program is a loop, not a copy for each part.
    """
    sums, batch_stats = function(0, batch_stats, indices[0])
    if len(indices) == 1:
        return sums, batch_stats

    def add(carry, part):
        sums, batch_stats = carry
        new, batch_stats = function(part[0], batch_stats, part[1])
        return (jax.tree.map(jnp.add, sums, new), batch_stats), None

    carry = sums, batch_stats
    numbers = jnp.arange(1, len(indices), dtype=jnp.int32)
    if in_loop:
        return jax.lax.scan(add, carry, (numbers, indices[1:]))[0]
    for part in zip(numbers, indices[1:], strict=True):
        # One after another, for the memory's sake.
        carry, _ = add(*jax.lax.optimization_barrier((carry, part)))
    return carry
