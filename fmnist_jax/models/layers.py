"""Flax layers with PyTorch's default initialisers, shared by the model families."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from fmnist_jax.models.initializers import torch_bias, torch_kernel


def torch_conv(
    x: Float[Array, 'batch h w c'],
    features: int,
    kernel_size: Sequence[int],
    **kwargs: Any,
) -> Float[Array, 'batch h2 w2 d']:
    """`nn.Conv` drawn as `torch.nn.Conv2d` draws it; call inside `nn.compact`."""
    fan_in = math.prod(kernel_size) * x.shape[-1]
    bias_init = torch_bias(fan_in)
    return nn.Conv(
        features, kernel_size, kernel_init=torch_kernel, bias_init=bias_init, **kwargs
    )(x)


def torch_dense(x: Float[Array, 'batch c'], features: int) -> Float[Array, 'batch d']:
    """`nn.Dense` drawn as `torch.nn.Linear` draws it; call inside `nn.compact`."""
    bias_init = torch_bias(x.shape[-1])
    return nn.Dense(features, kernel_init=torch_kernel, bias_init=bias_init)(x)


class Dropout(nn.Module):
    """Dropout whose mask does not depend on the number of devices.

    Each example's mask follows from its position in the global batch, where
    `nn.Dropout` draws one for the examples of its device together. Srivastava et al.
    (2014), https://jmlr.org/papers/v15/srivastava14a.html.

    Attributes:
      rate: the probability of dropping; a number, or an array without dimensions.
      axis_name: the mapped axis over which the batch is spread; None outside `pmap`.
    """

    rate: float | Array
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, 'batch ...'], *, train: bool
    ) -> Float[Array, 'batch ...']:
        """The same in evaluation; in training some zeros, the rest scaled up."""
        if not train:
            return x
        positions = jnp.arange(len(x))
        if self.axis_name is not None:
            positions += jax.lax.axis_index(self.axis_name) * len(x)
        key = self.make_rng('dropout')
        keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, positions)
        keep = 1 - jnp.asarray(self.rate, x.dtype)
        masks = jax.vmap(lambda k: jax.random.bernoulli(k, keep, x.shape[1:]))(keys)
        return jnp.where(masks, x / keep, jnp.zeros_like(x))


def flatten(x: Float[Array, 'batch ...']) -> Float[Array, 'batch n']:
    """All but the batch dimension as one, in (height, width, channel) order."""
    return x.reshape(x.shape[0], -1)
