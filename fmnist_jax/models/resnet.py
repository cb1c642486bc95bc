"""The residual network for small images."""

from flax import linen as nn
from jaxtyping import Array, Float

from fmnist_jax.models.layers import (
    StochasticDepth,
    global_average_pool,
    torch_batch_norm,
    torch_dense,
)
from fmnist_jax.models.residual import blocks_per_stage, conv, drop_rates, shortcut


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, and the input added before the last ReLU.

    Attributes:
      features: channels of both.
      stride: of the first.
      shortcut: see `residual.shortcut`.
      drop_rate: the probability of leaving the convolutions out.
      axis_name: as the network's.
    """

    features: int
    stride: int
    shortcut: str
    drop_rate: float
    axis_name: str | None

    @nn.compact
    def __call__(
        self, x: Float[Array, 'batch h w c'], *, train: bool
    ) -> Float[Array, 'batch h2 w2 d']:
        """Features to features."""
        kept = {'train': train, 'axis_name': self.axis_name}
        y = torch_batch_norm(conv(x, self.features, stride=self.stride), **kept)
        y = torch_batch_norm(conv(nn.relu(y), self.features), **kept)
        y = StochasticDepth(self.drop_rate, self.axis_name)(y, train=train)
        x = shortcut(x, self.features, self.stride, kind=self.shortcut, **kept)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """The residual network of 6n + 2 layers for small images.

    He et al. (2015), https://arxiv.org/abs/1512.03385, section 4.2: convolution 3x3;
    three stages of n blocks with 16, 32 and 64 channels, of which the last two halve
    height and width; global average pool; dense. `resnet20` has 272,186 parameters at
    28x28x1 for 10 classes with 'projection', as in
    https://github.com/zhunzhong07/Random-Erasing (models/fashion/resnet.py), and
    269,434 with 'padding', as in the paper's section.

    Attributes:
      num_classes: number of logits.
      depth: layers, 6n + 2.
      shortcut: where the shape changes: 'projection' (the paper's option B) or
        'padding' (option A).
      stochastic_depth: the probability of dropping the last block in training, which
        rises linearly to there.
      axis_name: the mapped axis over which the batch is spread in training, for
        BatchNorm's statistics and stochastic depth; None outside `pmap`.
    """

    num_classes: int
    depth: int = 20
    shortcut: str = 'projection'
    stochastic_depth: float = 0.0
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, images: Float[Array, 'batch h w c'], *, train: bool = False
    ) -> Float[Array, 'batch classes']:
        """Images, normalised, to logits."""
        blocks = blocks_per_stage(self.depth, outside=2)
        rates = iter(drop_rates(self.stochastic_depth, 3 * blocks))
        x = conv(images, 16)
        x = nn.relu(torch_batch_norm(x, train=train, axis_name=self.axis_name))
        for stage, features in enumerate((16, 32, 64)):
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                x = BasicBlock(
                    features, stride, self.shortcut, next(rates), self.axis_name
                )(x, train=train)
        return torch_dense(global_average_pool(x), self.num_classes)
