"""The one pure per-device training step."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int32, PyTree

from fmnist_jax.data.augmentation import Augmentation
from fmnist_jax.data.batches import Examples, example_keys, normalize, stream_key
from fmnist_jax.models.fields import with_dropout_rate
from fmnist_jax.training.chunks import sum_over_chunks
from fmnist_jax.training.hyperparameters import Hyperparameters, Number
from fmnist_jax.training.inference import ModelFunctions, apply_model
from fmnist_jax.training.optimizers import make_optimizer
from fmnist_jax.training.parallel import AXIS, sum_over_devices
from fmnist_jax.training.schedules import learning_rate
from fmnist_jax.training.state import EpochSums, TrainState


@dataclasses.dataclass(frozen=True)
class StepFunctions(ModelFunctions):
    """What a step is made of: everything about a run that is not a number.

    Attributes:
      optimizer_name: a registered optimizer.
      schedule: a registered schedule.
      augment: see `augmentation.make_augmentation`.
      chunk: examples of a device's batch that are worked on at a time.
      in_loop: whether chunks and steps are loops in the program, not a copy each.
    """

    optimizer_name: str
    schedule: str
    augment: Augmentation
    chunk: int
    in_loop: bool


class Progress(NamedTuple):
    """Numbers of a call that outlive its state, whose memory the next may take.

    Attributes:
      step: completed updates.
      sums: over the epoch so far.
      bad_step: as in the state.
      losses: of each of the call's updates, before it: the mean over its batch.
    """

    step: Int32[Array, '']
    sums: EpochSums
    bad_step: Int32[Array, '']
    losses: Float[Array, ' steps']


def train_step(
    functions: StepFunctions,
    state: TrainState,
    hyperparameters: Hyperparameters,
    examples: Examples,
    indices: Int32[Array, ' local_batch'],
) -> tuple[TrainState, Float[Array, '']]:
    """One update from this device's slice of a batch; the state is the same on all.

    Args:
      functions: what is static.
      state: before the update.
      hyperparameters: arrays.
      examples: the whole training split.
      indices: this device's examples.

    Returns:
      The state after the update, and the mean loss of the batch before it.
    """
    h = hyperparameters
    first = jax.lax.axis_index(AXIS) * len(indices)
    positions = first + jnp.arange(len(indices), dtype=jnp.int32)
    keys = example_keys(h.seed, state.step, positions)
    images, labels = functions.augment(keys, examples, indices)
    images = normalize(images, functions.normalization, functions.precision.compute)
    dropout_key = jax.random.fold_in(stream_key(h.seed, 'dropout'), state.step)
    model = with_dropout_rate(functions.model, h.dropout_rate)
    functions = dataclasses.replace(functions, model=model)

    def loss_function(params, images, labels):
        logits, batch_stats = apply_model(
            functions,
            params,
            state.batch_stats,
            images,
            train=True,
            rngs={'dropout': dropout_key},
        )
        smoothed, losses = _cross_entropy(logits, labels, h.label_smoothing)
        classes = labels if labels.ndim == 1 else labels.argmax(-1)
        correct = jnp.sum(logits.argmax(-1) == classes, dtype=losses.dtype)
        return smoothed.sum(), (losses.sum(), correct, batch_stats)

    gradient_function = jax.grad(loss_function, has_aux=True)
    gradients, (loss, correct, batch_stats) = sum_over_chunks(
        lambda *chunk: gradient_function(state.params, *chunk),
        functions.chunk,
        functions.in_loop,
        images,
        labels,
    )
    num_devices = jax.lax.axis_size(AXIS)
    batch = len(indices) * num_devices
    loss, correct, gradients, batch_stats = sum_over_devices(
        (loss, correct, gradients, batch_stats)
    )
    gradients = jax.tree.map(lambda g: g / batch, gradients)
    gradient_norm = optax.tree.norm(gradients)
    # The same on all devices already, where the model has averaged over them itself.
    batch_stats = jax.tree.map(lambda x: x / num_devices, batch_stats)

    rate = learning_rate(functions.schedule, state.step, h)
    optimizer = make_optimizer(functions.optimizer_name, rate, h)
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    new_step = state.step + 1
    bad_now = ~_all_finite((loss, gradient_norm, params, batch_stats, opt_state))
    new_state = TrainState(
        step=new_step,
        params=params,
        batch_stats=batch_stats,
        opt_state=opt_state,
        sums=EpochSums(
            loss=state.sums.loss + loss,
            correct=state.sums.correct + correct.astype(jnp.int32),
            count=state.sums.count + jnp.int32(batch),
            gradient_norm=state.sums.gradient_norm + gradient_norm,
            learning_rate=rate,
        ),
        bad_step=jnp.where((state.bad_step == 0) & bad_now, new_step, state.bad_step),
    )
    return new_state, loss / batch


def _cross_entropy(
    logits: Float[Array, 'b classes'],
    labels: Int32[Array, ' b'] | Float[Array, 'b classes'],
    smoothing: Number,
) -> tuple[Float[Array, ' b'], Float[Array, ' b']]:
    """Cross-entropy with smoothed labels, which is minimised, and as it is reported.

    Labels are classes, or where augmentation mixes images, shares of the classes.
    Label smoothing: Szegedy et al. (2016), https://arxiv.org/abs/1512.00567.
    """
    log_probabilities = jax.nn.log_softmax(logits)
    if labels.ndim == 1:
        picked = jnp.take_along_axis(log_probabilities, labels[:, None], axis=-1)
        losses = -picked[:, 0]
    else:
        losses = -(labels * log_probabilities).sum(-1)
    smoothed = (1 - smoothing) * losses - smoothing * log_probabilities.mean(-1)
    return smoothed, losses


def _all_finite(tree: PyTree) -> Bool[Array, '']:
    return jnp.all(
        jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)])
    )


def make_train_call(functions: StepFunctions, num_steps: int) -> Callable:
    """Many steps in one call, to be mapped over the devices.

    Args:
      functions: what is static.
      num_steps: updates a call.

    Returns:
      A function of (state, hyperparameters, examples, epoch's first step, this
      device's slice of the epoch's order [steps, local_batch]) that gives the new
      state and its `Progress`.
    """

    def call(state, hyperparameters, examples, first_step, order):
        def next_state(state):
            row = state.step - first_step
            indices = jax.lax.dynamic_index_in_dim(order, row, keepdims=False)
            return train_step(functions, state, hyperparameters, examples, indices)

        if functions.in_loop:
            state, losses = jax.lax.scan(
                lambda state, _: next_state(state), state, length=num_steps
            )
        else:
            steps = []
            for _ in range(num_steps):
                state, loss = next_state(state)
                steps.append(loss)
            losses = jnp.stack(steps)
        return state, Progress(state.step, state.sums, state.bad_step, losses)

    return call
