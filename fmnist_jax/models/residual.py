"""What the residual families share.

The functions make modules, which take their names from the module that calls them: call
them inside `nn.compact`.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from fmnist_jax.errors import UserError, unknown_name
from fmnist_jax.models.initializers import he_kernel
from fmnist_jax.models.layers import Conv, torch_batch_norm

SHORTCUTS = ('projection', 'padding')


def conv(
    x: Float[Array, 'batch h w c'], features: int, size: int = 3, stride: int = 1
) -> Float[Array, 'batch h2 w2 features']:
    """A convolution without bias, padded as PyTorch pads one that keeps the size.

    With a stride of 2, sides of n pixels become ceil(n / 2).
    """
    return Conv(
        features,
        (size, size),
        strides=stride,
        padding=size // 2,
        use_bias=False,
        kernel_init=he_kernel,
    )(x)


def shortcut(
    x: Float[Array, 'batch h w c'],
    features: int,
    stride: int,
    *,
    kind: str,
    train: bool,
    axis_name: str | None,
) -> Float[Array, 'batch h2 w2 features']:
    """The way around a block: as it is, where the block keeps the shape.

    He et al. (2015), https://arxiv.org/abs/1512.03385, section 3.3.

    Args:
      x: the block's input.
      features: channels of its output.
      stride: of its output.
      kind: where the shape changes, 'padding' (option A: every `stride`-th pixel, with
        zeros for new channels, no parameters), or 'projection' (option B: a 1x1
        convolution and BatchNorm).
      train: whether BatchNorm takes the batch's statistics.
      axis_name: the mapped axis over which it averages them.

    Raises:
      UserError: there is no such kind, or zeros cannot make fewer channels.
    """
    if kind not in SHORTCUTS:
        raise unknown_name('model.shortcut', kind, SHORTCUTS)
    new = features - x.shape[-1]
    if stride == 1 and new == 0:
        return x
    if kind == 'projection':
        x = conv(x, features, 1, stride)
        return torch_batch_norm(x, train=train, axis_name=axis_name)
    if new < 0:
        raise UserError(
            f"model.shortcut 'padding' cannot make {features} channels of "
            f"{x.shape[-1]}; widen the stage, or set 'projection'"
        )
    return jnp.pad(x[:, ::stride, ::stride], ((0, 0), (0, 0), (0, 0), (0, new)))


def drop_rates(stochastic_depth: float, num_blocks: int) -> Sequence[float]:
    """Each block's probability of being dropped, rising linearly to the last one's.

    Huang et al. (2016), https://arxiv.org/abs/1603.09382, equation 4.

    Raises:
      UserError: the last one's is no number of at least 0 and below 1.
    """
    if not 0 <= stochastic_depth < 1:
        raise UserError(
            'model.stochastic_depth must be a number of at least 0 and below 1, not '
            f'{stochastic_depth!r}'
        )
    return [stochastic_depth * (i + 1) / num_blocks for i in range(num_blocks)]


def blocks_per_stage(depth: int, outside: int) -> int:
    """Blocks of two convolutions in each of three stages.

    Args:
      depth: layers of the network, as its paper counts them.
      outside: those that are in no block.

    Raises:
      UserError: no number of blocks makes that depth.
    """
    blocks, rest = divmod(depth - outside, 6)
    if rest or blocks < 1:
        nearest = outside + 6 * max(1, round((depth - outside) / 6))
        raise UserError(
            f'model.depth must be 6n + {outside}, such as {nearest}, not {depth}'
        )
    return blocks
