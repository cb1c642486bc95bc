"""A network that trains in seconds."""

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

from fmnist_jax.errors import UserError
from fmnist_jax.kernels import conv_general_dilated, max_pool
from fmnist_jax.models.initializers import dirac_kernel, torch_bias, unit_kernel
from fmnist_jax.models.layers import (
    Conv,
    airbench_batch_norm,
    get_activation,
    global_max_pool,
)

# Height and width of the patches that are whitened.
_SIZE = 2

# `data.statistics.whitening_filters` of Fashion-MNIST's train[:55000], to 4 decimals:
# brightness, two slopes, and the difference of the diagonals.
FASHION_MNIST_WHITENING = (
    *(0.2627, 0.2634, 0.2634, 0.2625),
    *(0.9914, -0.8929, 0.8940, -0.9933),
    *(1.1183, 1.2427, -1.2425, -1.1192),
    *(2.5095, -2.5006, -2.4981, 2.5041),
)


class Whitening(nn.Module):
    """Fixed filters, each also with the opposite sign, and biases that are trained.

    Attributes:
      filters: as the network's field `whitening`.
    """

    filters: Sequence[float]

    @nn.compact
    def __call__(self, images: Float[Array, 'b h w c']) -> Float[Array, 'b h2 w2 8*c']:
        """Images to responses, which are of unit variance."""
        kernel = _whitening_kernel(self.filters, images.shape[-1])
        kernel = jnp.asarray(np.concatenate([kernel, -kernel], axis=-1), images.dtype)
        y = conv_general_dilated(
            images,
            kernel,
            (1, 1),
            'VALID',
            dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
        )
        bias_init = torch_bias(math.prod(kernel.shape[:-1]))
        return y + self.param('bias', bias_init, y.shape[-1:]).astype(y.dtype)


def _whitening_kernel(
    filters: Sequence[float], channels: int
) -> Float[np.ndarray, '2 2 c 4*c']:
    taps, area = math.isqrt(len(filters)), _SIZE * _SIZE
    if taps**2 != len(filters) or taps not in (area, area * channels):
        raise UserError(
            f'model.whitening must have {area}x{area} numbers, or for images of '
            f'{channels} channels {area * channels}x{area * channels}, not '
            f'{len(filters)}; fmnist_jax.data.statistics.whitening_filters makes them'
        )
    rows = np.asarray(filters, np.float64).reshape(taps, taps)
    if taps == area:
        # Each channel alone; taps are in the order (row, column, channel).
        rows = np.kron(rows, np.eye(channels))
    return rows.T.reshape(_SIZE, _SIZE, channels, area * channels)


class SpeedNet(nn.Module):
    """After airbench: whitened patches, three groups of two convolutions, one max.

    https://github.com/KellerJordan/cifar10-airbench (airbench94_muon.py;
    https://arxiv.org/abs/2404.00498): fixed 2x2 whitening, GELU; three groups of
    [convolution 3x3, max-pool 2x2, BatchNorm without scale, GELU, convolution 3x3,
    BatchNorm, GELU] with 1, 4 and 4 times `width` channels; max over what is left (3x3
    pixels at 28x28); dense without bias, divided by the number of its inputs.
    Convolutions begin by passing channels on. 1,962,120 parameters at 28x28x1 for 10
    classes, of which the filters are none.

    A model's `init` sees no data, so the filters are numbers of the config: those of
    Fashion-MNIST, for pixels that are normalised to mean 0 and deviation 1.

    Attributes:
      num_classes: number of logits.
      width: channels of the first group.
      whitening: numbers of the fixed filters, one filter after another, each in the
        order (row, column, channel), as `data.statistics.whitening_filters` makes them
        of the training images; or of images of one channel, applied to each channel.
      activation: see `layers.get_activation`.
      axis_name: the mapped axis over which BatchNorm averages its statistics in
        training; None outside `pmap`.
    """

    num_classes: int
    width: int = 64
    whitening: Sequence[float] = FASHION_MNIST_WHITENING
    activation: str = 'gelu'
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, images: Float[Array, 'batch h w c'], *, train: bool = False
    ) -> Float[Array, 'batch classes']:
        """Images, normalised, to logits."""
        activation = get_activation(self.activation)

        def normalised(x):
            return activation(
                airbench_batch_norm(x, train=train, axis_name=self.axis_name)
            )

        def conv(x, features):
            return Conv(features, (3, 3), use_bias=False, kernel_init=dirac_kernel)(x)

        x = activation(Whitening(self.whitening)(images))
        for features in (self.width, 4 * self.width, 4 * self.width):
            x = normalised(max_pool(conv(x, features)))
            x = normalised(conv(x, features))
        x = global_max_pool(x)
        logits = nn.Dense(self.num_classes, use_bias=False, kernel_init=unit_kernel)(x)
        return logits / x.shape[-1]
