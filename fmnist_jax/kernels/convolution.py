"""The convolution of the models, which on a CPU goes the way that is fast there."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from jax import lax
from jaxtyping import Array, Float

from fmnist_jax.kernels import dense
from fmnist_jax.kernels.depthwise import depthwise_convolution
from fmnist_jax.kernels.strided import sum_of_phases


def conv_general_dilated(  # noqa: PLR0917 - the signature of lax
    lhs: Float[Array, 'n ...'],
    rhs: Float[Array, '...'],
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Float[Array, 'n ...']:
    """`lax.conv_general_dilated`, faster on a CPU.

    To be handed to `nn.Conv`. Arguments, result and errors are those of
    `lax.conv_general_dilated`. Of images [batch, height, width, channel] and kernels
    [height, width, in, out], a CPU computes depthwise convolutions by `depthwise`, and
    of at least 4 float32 images those without strides by `dense`, those with strides as
    a sum of such ones. XLA computes all others, and all of them on accelerators.

    What does not go XLA's way has no forward-mode derivative. A program that is
    exported for a CPU with a fixed batch may hold kernels of `kernels.c`, which
    `jax.export` refuses; export it with an open batch, or with `FMNIST_JAX_KERNELS=0`
    in the environment.
    """

    def general(lhs, rhs):
        return lax.conv_general_dilated(
            lhs,
            rhs,
            window_strides,
            padding,
            lhs_dilation,
            rhs_dilation,
            dimension_numbers,
            feature_group_count,
            batch_group_count,
            precision,
            preferred_element_type,
        )

    numbers = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    is_plain = (
        lhs.ndim == 4
        and numbers == ((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))
        and set((*(lhs_dilation or ()), *(rhs_dilation or ()))) <= {1}
        and batch_group_count == 1
        and preferred_element_type is None
        and lhs.dtype == rhs.dtype
        and all(isinstance(size, int) for size in lhs.shape[1:])
        and 0 not in lhs.shape[1:] + rhs.shape
    )
    if not is_plain:
        return general(lhs, rhs)
    strides = tuple(window_strides)
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(lhs.shape[1:3], rhs.shape[:2], strides, padding)
    pads = tuple((int(low), int(high)) for low, high in padding)
    if feature_group_count == 1 and set(strides) == {1}:
        return dense.convolve(general, pads, lhs, rhs)
    special = _find_special(lhs, rhs, strides, pads, feature_group_count)
    if special is None:
        return general(lhs, rhs)
    return lax.platform_dependent(lhs, rhs, cpu=special, default=general)


def _find_special(
    images: Array,
    kernel: Array,
    strides: tuple[int, ...],
    pads: tuple[tuple[int, int], ...],
    groups: int,
) -> Callable[[Array, Array], Array] | None:
    """A faster way than XLA's for a CPU, of a convolution with strides or groups."""
    sides = zip(images.shape[1:3], kernel.shape[:2], pads, strict=True)
    if any(side + sum(pad) < window for side, window, pad in sides):
        return None
    if groups == images.shape[3] == kernel.shape[3] and groups > 1:
        return functools.partial(depthwise_convolution, strides, pads)
    if groups == 1 and dense.has_kernels_for(images):
        return functools.partial(sum_of_phases, strides, pads)
    return None
