"""A device's batch in chunks, one after another, for the sake of a CPU's caches.

What a chunk makes of its examples stays in the second-level cache; what a whole batch
makes does not. Measured in results/speed.md.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.errors import InvalidRngError
from jax.extend.core import ClosedJaxpr, Jaxpr
from jaxtyping import Array, PyTree

from fmnist_jax.models.fields import field_names
from fmnist_jax.training.parallel import largest_divisor

# Examples of a chunk, from and to.
_LEAST, _MOST = 8, 32
# Of so many chunks at most a program holds a copy each.
_MOST_COPIES = 8


@dataclasses.dataclass(frozen=True)
class Chunks:
    """How a device's batch is divided.

    Attributes:
      size: examples at a time.
      in_loop: whether the program is a loop, not a copy for each chunk.
    """

    size: int
    in_loop: bool = False


def choose_chunks(
    model: nn.Module, image_shape: tuple[int, int, int], batch: int
) -> Chunks:
    """The chunks for a CPU device: the whole batch where the model needs it.

    Args:
      model: with statistics of the batch (`batch_stats`) or random numbers, it needs
        the batch whole.
      image_shape: height, width, channels.
      batch: examples of a device.
    """
    if 'axis_name' in field_names(model):
        model = model.clone(axis_name=None)
    images = jax.ShapeDtypeStruct((batch, *image_shape), jnp.float32)
    init = functools.partial(model.init, train=False)
    variables = jax.eval_shape(init, jax.random.key(0), images)
    if variables.get('batch_stats'):
        return Chunks(batch)
    try:
        apply = functools.partial(model.apply, train=True)
        program = jax.make_jaxpr(apply)(variables, images)
    except InvalidRngError:
        return Chunks(batch)
    # XLA's convolutions run at a fraction of their speed in a loop on a CPU.
    in_loop = not _has_convolution(program.jaxpr)
    most = _MOST if in_loop else max(_MOST, -(-batch // _MOST_COPIES))
    size = largest_divisor(batch, most)
    return Chunks(size, in_loop) if size >= _LEAST else Chunks(batch)


def _has_convolution(program: Jaxpr) -> bool:
    """Whether XLA's convolution is in a program, other than for another platform."""
    for operation in program.eqns:
        if operation.primitive.name == 'conv_general_dilated':
            return True
        if operation.params.get('branches_platforms') is not None:
            continue
        for value in operation.params.values():
            inner = value.jaxpr if isinstance(value, ClosedJaxpr) else value
            if isinstance(inner, Jaxpr) and _has_convolution(inner):
                return True
    return False


def sum_over_chunks(
    function: Callable[..., PyTree], chunks: Chunks, *arrays: Array
) -> PyTree:
    """Adds up a function's results over the chunks of a batch.

    Args:
      function: of as many arrays; its results are sums over examples.
      chunks: their size divides the batch.
      *arrays: [batch, ...].
    """
    size = chunks.size
    if size == len(arrays[0]):
        return function(*arrays)
    parts = [x.reshape(-1, size, *x.shape[1:]) for x in arrays]
    if chunks.in_loop:
        shapes = jax.eval_shape(function, *(part[0] for part in parts))
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

        def add(sums, part):
            return jax.tree.map(jnp.add, sums, function(*part)), None

        return jax.lax.scan(add, zeros, parts)[0]
    sums = function(*(part[0] for part in parts))
    for i in range(1, len(parts[0])):
        # One after another: all at once they would share the cache.
        part, sums = jax.lax.optimization_barrier(([x[i] for x in parts], sums))
        sums = jax.tree.map(jnp.add, sums, function(*part))
    return sums
