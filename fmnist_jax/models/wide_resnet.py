"""Wide residual networks."""

from flax import linen as nn
from jaxtyping import Array, Float

from fmnist_jax.models.initializers import torch_kernel
from fmnist_jax.models.layers import (
    Dropout,
    StochasticDepth,
    global_average_pool,
    torch_batch_norm,
)
from fmnist_jax.models.residual import blocks_per_stage, conv, drop_rates


class PreActivationBlock(nn.Module):
    """[BatchNorm, ReLU, convolution 3x3] twice, dropout between; the input added.

    Attributes:
      features: channels of both convolutions.
      stride: of the first.
      dropout_rate: as the network's.
      drop_rate: the probability of leaving the convolutions out.
      axis_name: as the network's.
    """

    features: int
    stride: int
    dropout_rate: float | Array | None
    drop_rate: float
    axis_name: str | None

    @nn.compact
    def __call__(
        self, x: Float[Array, 'batch h w c'], *, train: bool
    ) -> Float[Array, 'batch h2 w2 d']:
        """Features to features."""
        kept = {'train': train, 'axis_name': self.axis_name}
        y = nn.relu(torch_batch_norm(x, **kept))
        if x.shape[-1] != self.features or self.stride != 1:
            x = conv(y, self.features, 1, self.stride)
        y = conv(y, self.features, stride=self.stride)
        y = nn.relu(torch_batch_norm(y, **kept))
        if self.dropout_rate is not None:
            y = Dropout(self.dropout_rate, self.axis_name)(y, train=train)
        y = conv(y, self.features)
        return x + StochasticDepth(self.drop_rate, self.axis_name)(y, train=train)


class WideResNet(nn.Module):
    """The wide residual network of 6n + 4 layers.

    Zagoruyko and Komodakis (2016), https://arxiv.org/abs/1605.07146, with the layers
    in the order of https://github.com/zhunzhong07/Random-Erasing (models/fashion/
    wrn.py): convolution 3x3 with 16 channels; three stages of n blocks with 16, 32 and
    64 times `widening` channels, of which the last two halve height and width;
    BatchNorm, ReLU, global average pool; dense. Where a block changes the shape, its
    shortcut is a 1x1 convolution of the activated input. Parameters at 28x28x1 for 10
    classes: `wrn_16_4` 2,748,602, `wrn_28_10` 36,478,906, `wrn_40_4` 8,948,922.

    Attributes:
      num_classes: number of logits.
      depth: layers, 6n + 4, the shortcuts of the three stages among them.
      widening: times 16, 32 and 64 channels.
      dropout_rate: within each block, between the convolutions; None for no dropout,
        which is as 0, but draws no masks.
      stochastic_depth: the probability of dropping the last block in training, which
        rises linearly to there.
      axis_name: the mapped axis over which the batch is spread in training, for
        BatchNorm's statistics, dropout and stochastic depth; None outside `pmap`.
    """

    num_classes: int
    depth: int = 16
    widening: int = 4
    dropout_rate: float | Array | None = None
    stochastic_depth: float = 0.0
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, images: Float[Array, 'batch h w c'], *, train: bool = False
    ) -> Float[Array, 'batch classes']:
        """Images, normalised, to logits."""
        blocks = blocks_per_stage(self.depth, outside=4)
        rates = iter(drop_rates(self.stochastic_depth, 3 * blocks))
        x = conv(images, 16)
        for stage, features in enumerate((16, 32, 64)):
            for block in range(blocks):
                x = PreActivationBlock(
                    features=features * self.widening,
                    stride=2 if stage > 0 and block == 0 else 1,
                    dropout_rate=self.dropout_rate,
                    drop_rate=next(rates),
                    axis_name=self.axis_name,
                )(x, train=train)
        x = nn.relu(torch_batch_norm(x, train=train, axis_name=self.axis_name))
        x = global_average_pool(x)
        return nn.Dense(self.num_classes, kernel_init=torch_kernel)(x)
