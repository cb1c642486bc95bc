"""Floating-point types: what parameters are kept in, and what models compute in.

Models never know: a Flax layer without a `dtype` computes in the type of its inputs
and parameters, so both are cast before the call.
"""

from types import MappingProxyType
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import DTypeLike

from fmnist_jax.errors import unknown_name


class Precision(NamedTuple):
    """Dtypes of a run.

    Attributes:
      param: parameters, optimizer state, running averages, losses and sums.
      compute: images, activations and gradients of activations.
    """

    param: DTypeLike
    compute: DTypeLike


PRECISIONS = MappingProxyType(
    {
        'float32': Precision(jnp.float32, jnp.float32),
        'bfloat16': Precision(jnp.float32, jnp.bfloat16),
        # For checks of correctness; needs jax_enable_x64, which main switches on.
        'float64': Precision(jnp.float64, jnp.float64),
    }
)


def get_precision(name: str) -> Precision:
    """The dtypes called `name`.

    Raises:
      UserError: there is no precision of this name.
    """
    if name not in PRECISIONS:
        raise unknown_name('precision', name, PRECISIONS)
    return PRECISIONS[name]
