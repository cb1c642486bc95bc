"""A device's batch in chunks, one after another, for the sake of a CPU's caches.

What a chunk makes of its examples stays in the second-level cache; what a whole batch
makes does not. Measured in results/speed.md.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.errors import InvalidRngError
from jax.extend.core import ClosedJaxpr, Jaxpr
from jax.typing import DTypeLike
from jaxtyping import Array, PyTree

from fmnist_jax.models.fields import field_names

# Examples of a chunk: about so many, a multiple of the lanes of a vector. The rest, a
# smaller chunk, must fill half of them.
_CHUNK, _LANES = 32, 16
# Of so many chunks at most a program holds a copy each.
_MOST_COPIES = 8


def choose_chunk(
    model: nn.Module, image_shape: tuple[int, int, int], batch: int, *, in_loop: bool
) -> int:
    """Examples of a chunk on a CPU device: the whole batch where the model needs it.

    Args:
      model: with statistics of the batch (`batch_stats`) or random numbers, it needs
        the batch whole.
      image_shape: height, width, channels.
      batch: examples of a device.
      in_loop: whether chunks are a loop in the program, not a copy each.
    """
    images = jax.ShapeDtypeStruct((batch, *image_shape), jnp.float32)
    variables = _variables(model, images)
    if variables.get('batch_stats'):
        return batch
    try:
        jax.eval_shape(_call(model), variables, images)
    except InvalidRngError:
        return batch
    least = _CHUNK if in_loop else max(_CHUNK, -(-batch // _MOST_COPIES))
    for chunk in range(-(-least // _LANES) * _LANES, batch, _LANES):
        if batch % chunk == 0 or batch % chunk >= _LANES // 2:
            return chunk
    return batch


def has_convolution(
    model: nn.Module, image_shape: tuple[int, int, int], batch: int, dtype: DTypeLike
) -> bool:
    """Whether a CPU device's program holds XLA's own convolution.

    That runs at a fraction of its speed in a loop on a CPU.

    Args:
      model: in training.
      image_shape: height, width, channels.
      batch: examples of a device.
      dtype: that the model computes in.
    """
    images = jax.ShapeDtypeStruct((batch, *image_shape), dtype)
    variables = _variables(model, images)
    params = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, dtype), variables['params']
    )
    call = _call(model, rngs={'dropout': jax.random.key(0)}, mutable=['batch_stats'])
    program = jax.make_jaxpr(call)({**variables, 'params': params}, images)
    return _holds_convolution(program.jaxpr)


def _call(model: nn.Module, **kwargs: Any) -> Callable:
    """The model's call in training, by one device alone."""
    return functools.partial(_alone(model).apply, train=True, **kwargs)


def _variables(model: nn.Module, images: jax.ShapeDtypeStruct) -> PyTree:
    init = functools.partial(_alone(model).init, train=False)
    return jax.eval_shape(init, jax.random.key(0), images)


def _alone(model: nn.Module) -> nn.Module:
    return model.clone(axis_name=None) if 'axis_name' in field_names(model) else model


def _holds_convolution(program: Jaxpr) -> bool:
    """Whether XLA's convolution is in a program, other than for another platform."""
    for operation in program.eqns:
        if operation.primitive.name == 'conv_general_dilated':
            return True
        if operation.params.get('branches_platforms') is not None:
            continue
        for value in operation.params.values():
            for leaf in jax.tree.leaves(value):
                inner = leaf.jaxpr if isinstance(leaf, ClosedJaxpr) else leaf
                if isinstance(inner, Jaxpr) and _holds_convolution(inner):
                    return True
    return False


def sum_over_chunks(
    function: Callable[..., PyTree], chunk: int, in_loop: bool, *arrays: Array
) -> PyTree:
    """Adds up a function's results over the chunks of a batch.

    Args:
      function: of as many arrays; its results are sums over examples.
      chunk: examples at a time; the last ones may be fewer.
      in_loop: whether the program is a loop, not a copy for each chunk.
      *arrays: [batch, ...].
    """
    count = len(arrays[0]) // chunk
    if in_loop and count > 1:
        split = count * chunk
        parts = [x[:split].reshape(count, chunk, *x.shape[1:]) for x in arrays]
        sums = _sum_in_loop(function, parts)
    else:
        split = chunk
        sums = function(*(x[:split] for x in arrays))
    for start in range(split, len(arrays[0]), chunk):
        # One after another: all at once they would share the cache.
        part, sums = jax.lax.optimization_barrier(
            ([x[start : start + chunk] for x in arrays], sums)
        )
        sums = jax.tree.map(jnp.add, sums, function(*part))
    return sums


def _sum_in_loop(function: Callable[..., PyTree], parts: Sequence[Array]) -> PyTree:
    shapes = jax.eval_shape(function, *(part[0] for part in parts))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

    def add(sums, part):
        return jax.tree.map(jnp.add, sums, function(*part)), None

    return jax.lax.scan(add, zeros, parts)[0]
