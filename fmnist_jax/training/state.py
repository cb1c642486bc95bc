"""The train state: all that a run is, between two calls of the step."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jaxtyping import Array, DTypeLike, Key, PyTree

from fmnist_jax.data.batches import stream_key
from fmnist_jax.training.hyperparameters import Hyperparameters, Number
from fmnist_jax.training.optimizers import make_optimizer

# An array, or what takes an array's place while a tree is mapped: a shape, a sharding.
Leaf = Any


@flax.struct.dataclass
class EpochSums:
    """Sums over what was trained on since the epoch began, and the rate it ended with.

    Attributes:
      loss: float [], sum of the examples' losses, each before its own update and
        without label smoothing.
      correct: int32 [], how many were classified correctly.
      count: int32 [], how many there were.
      gradient_norm: float [], sum of the updates' gradient norms, all parameters taken
        together, before clipping and weight decay.
      learning_rate: float [], of the last update.
    """

    loss: Leaf
    correct: Leaf
    count: Leaf
    gradient_norm: Leaf
    learning_rate: Leaf

    @classmethod
    def zeros(cls, dtype: DTypeLike) -> 'EpochSums':
        """No examples yet."""
        # An array each: a step takes the memory of all of them.
        return cls(
            loss=jnp.zeros((), dtype),
            correct=jnp.int32(0),
            count=jnp.int32(0),
            gradient_norm=jnp.zeros((), dtype),
            learning_rate=jnp.zeros((), dtype),
        )


@flax.struct.dataclass
class TrainState:
    """What a checkpoint holds.

    Attributes:
      step: int32 [], completed updates.
      params: the model's parameters, a tree of float arrays.
      batch_stats: BatchNorm's running averages, likewise; {} for models without.
      opt_state: the optimizer's state.
      sums: `EpochSums`, what the epoch's training metrics are made of.
      bad_step: int32 [], the first update (from 1) whose loss, gradient or result was
        not finite; 0 while there is none.
      average: the averages of `params` and `batch_stats` over the updates, in a dict
        of these names; {} for a run without.
    """

    step: Leaf
    params: Any
    batch_stats: Any
    opt_state: optax.OptState
    sums: Any
    bad_step: Leaf
    average: Any = flax.struct.field(default_factory=dict)

    @property
    def scored(self) -> dict[str, PyTree]:
        """`params` and `batch_stats` that validation scores: averages, if any."""
        return self.average or {'params': self.params, 'batch_stats': self.batch_stats}


def create_state(
    model: nn.Module,
    optimizer_name: str,
    hyperparameters: Hyperparameters,
    image_shape: tuple[int, int, int],
    param_dtype: DTypeLike,
    *,
    is_averaged: bool = False,
) -> TrainState:
    """Draws a new state from the seed; to be compiled with `parallel.jit_once`.

    Args:
      model: its `init` is called on one image.
      optimizer_name: a registered optimizer.
      hyperparameters: the seed is taken from here.
      image_shape: height, width, channels.
      param_dtype: dtype of parameters, running averages and sums.
      is_averaged: whether the run averages its weights.
    """

    h = hyperparameters
    variables = _init(model, stream_key(h.seed, 'init'), image_shape, param_dtype)
    params = variables['params']
    optimizer = make_optimizer(optimizer_name, h.learning_rate, h)
    return TrainState(
        step=jnp.int32(0),
        params=params,
        batch_stats=variables['batch_stats'],
        opt_state=optimizer.init(params),
        average=_copy(variables) if is_averaged else {},
        sums=EpochSums.zeros(param_dtype),
        bad_step=jnp.int32(0),
    )


def abstract_variables(
    model: nn.Module, image_shape: tuple[int, int, int], param_dtype: DTypeLike
) -> dict[str, PyTree]:
    """Shapes and dtypes of a model's `params` and `batch_stats`."""
    key = jax.random.key(0)
    return jax.eval_shape(lambda: _init(model, key, image_shape, param_dtype))


def _init(
    model: nn.Module,
    key: Key[Array, ''],
    image_shape: tuple[int, int, int],
    param_dtype: DTypeLike,
) -> dict[str, PyTree]:
    image = jnp.zeros((1, *image_shape), param_dtype)
    variables = model.init(key, image, train=False)
    variables = jax.tree.map(lambda x: x.astype(param_dtype), variables)
    return {'batch_stats': {}, **variables}


def with_variables(state: TrainState, variables: dict[str, PyTree]) -> TrainState:
    """A new state that begins with other `params` and `batch_stats`."""
    average = _copy(variables) if state.average else {}
    return state.replace(**variables, average=average)


def _copy(tree: PyTree) -> PyTree:
    # An array each: a step takes the memory of all of them.
    return jax.tree.map(jnp.copy, tree)


def next_average(
    state: TrainState, params: PyTree, batch_stats: PyTree, decay: Number
) -> dict[str, PyTree]:
    """The averages after an update, of a run that has them.

    Polyak & Juditsky (1992), https://doi.org/10.1137/0330046, with exponential weights;
    in the first updates the decay is smaller, as in TensorFlow's
    `ExponentialMovingAverage`: (1 + n) / (10 + n) after n updates.

    Args:
      state: before the update.
      params: after it.
      batch_stats: after it.
      decay: of what was averaged before.
    """
    if not state.average:
        return {}
    step = state.step.astype(decay.dtype)
    decay = jnp.minimum(decay, (1 + step) / (10 + step))
    return optax.incremental_update(
        {'params': params, 'batch_stats': batch_stats}, state.average, 1 - decay
    )


def num_parameters(params: PyTree) -> int:
    """How many numbers training adjusts."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
