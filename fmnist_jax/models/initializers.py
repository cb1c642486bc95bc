"""Initialisers of the frameworks that the reproduced projects were written in."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import Initializer

# U(±sqrt(3 · scale / fan_in)) with scale 1/3 is U(±1/sqrt(fan_in)): the default of
# torch.nn.Conv2d and torch.nn.Linear (kaiming_uniform_ with a = sqrt(5)).
torch_kernel = nn.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform')


def torch_bias(fan_in: int) -> Initializer:
    """PyTorch's default bias: U(±1/sqrt(fan_in)), with the layer's kernel's fan-in.

    Args:
      fan_in: inputs of each output: kernel height x width x input channels.
    """

    def init(key, shape, dtype=jnp.float32):
        bound = fan_in**-0.5
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init
