"""Blocks of the compact family: each keeps its shape but for channels and stride."""

from collections.abc import Callable
from types import MappingProxyType

from flax import linen as nn
from jaxtyping import Array, Float

from fmnist_jax.errors import unknown_name
from fmnist_jax.models.layers import (
    Conv,
    StochasticDepth,
    get_activation,
    global_average_pool,
    torch_batch_norm,
)
from fmnist_jax.models.residual import conv, shortcut


class SqueezeExcite(nn.Module):
    """Scales each channel by a number between 0 and 1 that follows from all of them.

    Hu et al. (2018), https://arxiv.org/abs/1709.01507: global average pool, dense,
    ReLU, dense, sigmoid.

    Attributes:
      ratio: channels for each unit of the layer between; at least one unit.
    """

    ratio: int

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b h w c']:
        """Features to features."""
        channels = x.shape[-1]
        scale = nn.relu(
            nn.Dense(max(1, channels // self.ratio))(global_average_pool(x))
        )
        scale = nn.sigmoid(nn.Dense(channels)(scale))
        return x * scale[:, None, None]


class Block(nn.Module):
    """What the blocks have in common.

    Attributes:
      features: channels of the result.
      stride: of the result.
      activation: see `layers.get_activation`.
      expansion: of the bottleneck.
      squeeze_excite: see `SqueezeExcite.ratio`; 0 for none.
      drop_rate: the probability of leaving a residual branch out.
      axis_name: as the network's.
    """

    features: int
    stride: int
    activation: str
    expansion: int
    squeeze_excite: int
    drop_rate: float
    axis_name: str | None

    def _excite(self, x: Array) -> Array:
        return SqueezeExcite(self.squeeze_excite)(x) if self.squeeze_excite else x

    def _drop(self, x: Array, *, train: bool) -> Array:
        return StochasticDepth(self.drop_rate, self.axis_name)(x, train=train)

    def _norm(self, x: Array, *, train: bool) -> Array:
        return torch_batch_norm(x, train=train, axis_name=self.axis_name)


class ConvBlock(Block):
    """Convolution 3x3, BatchNorm, activation, squeeze-excite; nothing residual."""

    @nn.compact
    def __call__(
        self, x: Float[Array, 'batch h w c'], *, train: bool
    ) -> Float[Array, 'batch h2 w2 d']:
        """Features to features."""
        x = self._norm(conv(x, self.features, stride=self.stride), train=train)
        return self._excite(get_activation(self.activation)(x))


class BasicBlock(Block):
    """Two convolutions 3x3 and a shortcut, as in a ResNet.

    He et al. (2015), https://arxiv.org/abs/1512.03385; squeeze-excite before the sum.
    """

    @nn.compact
    def __call__(
        self, x: Float[Array, 'batch h w c'], *, train: bool
    ) -> Float[Array, 'batch h2 w2 d']:
        """Features to features."""
        activation = get_activation(self.activation)
        y = self._norm(conv(x, self.features, stride=self.stride), train=train)
        y = self._norm(conv(activation(y), self.features), train=train)
        y = self._drop(self._excite(y), train=train)
        kept = {'kind': 'projection', 'train': train, 'axis_name': self.axis_name}
        return activation(shortcut(x, self.features, self.stride, **kept) + y)


class BottleneckBlock(Block):
    """Inverted residual: 1x1 to `expansion` times the channels, depthwise 3x3, 1x1.

    Sandler et al. (2018), https://arxiv.org/abs/1801.04381, with squeeze-excite after
    the depthwise convolution as Howard et al. (2019), https://arxiv.org/abs/1905.02244,
    have it; a shortcut only where the shape stays. With an expansion of 1 there is no
    first 1x1.
    """

    @nn.compact
    def __call__(
        self, x: Float[Array, 'batch h w c'], *, train: bool
    ) -> Float[Array, 'batch h2 w2 d']:
        """Features to features."""
        activation = get_activation(self.activation)
        inputs = x.shape[-1]
        y = x
        if self.expansion != 1:
            y = activation(self._norm(conv(y, self.expansion * inputs, 1), train=train))
        y = activation(self._norm(_depthwise(y, self.stride), train=train))
        y = self._norm(conv(self._excite(y), self.features, 1), train=train)
        if self.stride != 1 or self.features != inputs:
            return y
        return x + self._drop(y, train=train)


def _depthwise(x: Array, stride: int) -> Array:
    channels = x.shape[-1]
    return Conv(
        channels,
        (3, 3),
        strides=stride,
        padding=1,
        feature_group_count=channels,
        use_bias=False,
        # By fan-in, 9 here: fan-out counts all channels, though each has its own.
        kernel_init=nn.initializers.he_normal(),
    )(x)


_BLOCKS = MappingProxyType(
    {'conv': ConvBlock, 'basic': BasicBlock, 'bottleneck': BottleneckBlock}
)


def get_block(name: str) -> Callable[..., Block]:
    """The class of blocks of this name.

    Raises:
      UserError: there is none.
    """
    if name not in _BLOCKS:
        raise unknown_name('model.block', name, _BLOCKS)
    return _BLOCKS[name]
