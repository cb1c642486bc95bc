"""The one pure per-device training step."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int32, PyTree

from fmnist_jax.training.gradients import GradientFunctions, Inputs, batch_gradient
from fmnist_jax.training.hyperparameters import Hyperparameters
from fmnist_jax.training.optimizers import make_optimizer
from fmnist_jax.training.parallel import AXIS
from fmnist_jax.training.schedules import learning_rate
from fmnist_jax.training.state import EpochSums, TrainState, next_average


@dataclasses.dataclass(frozen=True)
class StepFunctions(GradientFunctions):
    """What a step is made of: everything about a run that is not a number.

    Attributes:
      optimizer_name: a registered optimizer.
      weight_decay_on: what it decays; see `optimizers.DECAYED`.
      schedule: a registered schedule.
      num_parts: parts of a batch, worked on one after another.
    """

    optimizer_name: str
    weight_decay_on: str
    schedule: str
    num_parts: int


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
    inputs: Inputs,
    indices: Int32[Array, 'parts local'],
) -> tuple[TrainState, Float[Array, '']]:
    """One update from this device's slices of a batch; the state is the same on all.

    Args:
      functions: what is static.
      state: before the update.
      hyperparameters: arrays.
      inputs: what all steps share.
      indices: this device's examples of each part of the batch.

    Returns:
      The state after the update, and the mean loss of the batch before it.
    """
    h = hyperparameters
    found = batch_gradient(functions, state, h, inputs, indices)
    gradient_norm = optax.tree.norm(found.gradient)
    rate = learning_rate(functions.schedule, state.step, h)
    optimizer = make_optimizer(
        functions.optimizer_name, rate, h, functions.weight_decay_on
    )
    updates, opt_state = optimizer.update(found.gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    new_step = state.step + 1
    bad_now = ~_all_finite(
        (found.loss, gradient_norm, params, found.batch_stats, opt_state)
    )
    batch = indices.size * jax.lax.axis_size(AXIS)
    new_state = TrainState(
        step=new_step,
        params=params,
        batch_stats=found.batch_stats,
        opt_state=opt_state,
        average=next_average(state, params, found.batch_stats, h.ema_decay),
        sums=EpochSums(
            loss=state.sums.loss + found.loss,
            correct=state.sums.correct + found.correct.astype(jnp.int32),
            count=state.sums.count + jnp.int32(batch),
            gradient_norm=state.sums.gradient_norm + gradient_norm,
            learning_rate=rate,
        ),
        bad_step=jnp.where((state.bad_step == 0) & bad_now, new_step, state.bad_step),
    )
    return new_state, found.loss / batch


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
      A function of (state, hyperparameters, inputs, epoch's first step, this device's
      slices of the epoch's order [steps * parts, local]) that gives the new state and
      its `Progress`.
    """

    def call(state, hyperparameters, inputs, first_step, order):
        def next_state(state):
            row = (state.step - first_step) * functions.num_parts
            indices = jax.lax.dynamic_slice_in_dim(order, row, functions.num_parts)
            return train_step(functions, state, hyperparameters, inputs, indices)

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
