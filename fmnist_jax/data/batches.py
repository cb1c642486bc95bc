"""Batches from a data set that lives on the device: order, gather, normalise.

Everything random is a pure function of (seed, epoch, step, position in the global
batch): never of the number of devices, nor of whether the run was interrupted.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float, Int32, Key, UInt8, UInt32

# Streams of random numbers drawn from one seed; each purpose has its own.
_STREAMS = {'init': 0, 'order': 1, 'step': 2, 'dropout': 3}


class Examples(NamedTuple):
    """A split, whole, on the device.

    Attributes:
      images: uint8 [n, height, width, channels].
      labels: int32 [n].
    """

    images: UInt8[Array | np.ndarray, 'n h w c']
    labels: Int32[Array | np.ndarray, ' n']


class Normalization(NamedTuple):
    """Pixels / 255, minus `mean`, divided by `std`; a number, or one a channel."""

    mean: float | tuple[float, ...]
    std: float | tuple[float, ...]


def stream_key(seed: UInt32[Array, ''] | int, stream: str) -> Key[Array, '']:
    """The key of one purpose's random stream, one of `_STREAMS`."""
    return jax.random.fold_in(jax.random.key(seed), _STREAMS[stream])


def example_keys(
    seed: UInt32[Array, ''], step: Int32[Array, ''], positions: Int32[Array, ' b']
) -> Key[Array, ' b']:
    """A key for each example of a step, from its position in the global batch.

    The step counts from the start of training, so it stands for the epoch as well.
    """
    key = jax.random.fold_in(stream_key(seed, 'step'), step)
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, positions)


def epoch_order(
    seed: UInt32[Array, ''],
    epoch: Int32[Array, ''],
    num_examples: int,
    batch_size: int,
) -> Int32[Array, 'steps batch']:
    """The examples of each step of an epoch: a permutation's full batches."""
    key = jax.random.fold_in(stream_key(seed, 'order'), epoch)
    order = jax.random.permutation(key, jnp.arange(num_examples, dtype=jnp.int32))
    steps = num_examples // batch_size
    return order[: steps * batch_size].reshape(steps, batch_size)


def padded_order(
    num_examples: int, batch_size: int
) -> Int32[np.ndarray, 'steps batch']:
    """Every example once, in order, the last batch filled up with example 0.

    Results of the filling are to be dropped: keep the first `num_examples`.
    """
    steps = -(-num_examples // batch_size)
    order = np.zeros(steps * batch_size, np.int32)
    order[:num_examples] = np.arange(num_examples)
    return order.reshape(steps, batch_size)


def normalize(
    images: UInt8[Array, 'b h w c'], normalization: Normalization, dtype: DTypeLike
) -> Float[Array, 'b h w c']:
    """Pixels as the model sees them, computed in float32 or wider, then cast."""
    wide = jnp.promote_types(dtype, jnp.float32)
    mean = jnp.asarray(normalization.mean, wide)
    std = jnp.asarray(normalization.std, wide)
    return ((images.astype(wide) / 255 - mean) / std).astype(dtype)
