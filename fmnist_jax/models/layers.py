"""Flax layers with PyTorch's default initialisers, shared by the model families."""

import math
from collections.abc import Sequence
from typing import Any

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


def flatten(x: Float[Array, 'batch ...']) -> Float[Array, 'batch n']:
    """All but the batch dimension as one, in (height, width, channel) order."""
    return x.reshape(x.shape[0], -1)
