"""A flexible family for small numbers of parameters, to search in."""

import itertools
from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from fmnist_jax.errors import UserError, unknown_name
from fmnist_jax.kernels import max_pool
from fmnist_jax.models.blocks import get_block
from fmnist_jax.models.layers import (
    flatten,
    get_activation,
    global_average_pool,
    global_max_pool,
    torch_batch_norm,
    torch_dense,
)
from fmnist_jax.models.residual import conv, drop_rates

_HEADS = ('average', 'flatten', 'average_max')
_POOLS = ('max', 'stride')


class Compact(nn.Module):
    """A stem, stages of blocks, a head; 7,490 parameters at 28x28x1 for 10 classes.

    Stem: convolution 3x3, BatchNorm, activation. Between two stages height and width
    are halved. Head: pixels to one vector, dense. The defaults are a start, not the
    result of a search.

    Attributes:
      num_classes: number of logits.
      stem: channels of the stem; 0 for no stem.
      widths: channels of each stage.
      depths: blocks of each stage.
      block: 'conv' (one convolution 3x3), 'basic' (residual, two of them) or
        'bottleneck' (inverted residual, depthwise 3x3 between two 1x1); see `blocks`.
      expansion: of the bottleneck: times its input's channels.
      squeeze_excite: of each block: channels for each hidden unit; 0 for none.
      pool: between stages: 'max' (2x2, an odd last row or column is left out) or
        'stride' (in the next stage's first block; sides are rounded up).
      activation: see `layers.get_activation`.
      head: 'average' or 'average_max' (both, one after the other) over all pixels, or
        'flatten'.
      stochastic_depth: the probability of dropping the last block's residual branch in
        training, which rises linearly to there.
      axis_name: the mapped axis over which the batch is spread in training, for
        BatchNorm's statistics and stochastic depth; None outside `pmap`.
    """

    num_classes: int
    stem: int = 8
    widths: Sequence[int] = (12, 18, 26)
    depths: Sequence[int] = (1, 1, 1)
    block: str = 'conv'
    expansion: int = 2
    squeeze_excite: int = 0
    pool: str = 'max'
    activation: str = 'relu'
    head: str = 'average'
    stochastic_depth: float = 0.0
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, images: Float[Array, 'batch h w c'], *, train: bool = False
    ) -> Float[Array, 'batch classes']:
        """Images, normalised, to logits."""
        self._check()
        make_block = get_block(self.block)
        rates = iter(drop_rates(self.stochastic_depth, sum(self.depths)))
        x = images
        if self.stem:
            x = torch_batch_norm(
                conv(x, self.stem), train=train, axis_name=self.axis_name
            )
            x = get_activation(self.activation)(x)
        for stage, (width, depth) in enumerate(
            zip(self.widths, self.depths, strict=True)
        ):
            if stage > 0 and self.pool == 'max':
                x = max_pool(x)
            for block in range(depth):
                is_strided = self.pool == 'stride' and stage > 0 and block == 0
                x = make_block(
                    features=width,
                    stride=2 if is_strided else 1,
                    activation=self.activation,
                    expansion=self.expansion,
                    squeeze_excite=self.squeeze_excite,
                    drop_rate=next(rates),
                    axis_name=self.axis_name,
                )(x, train=train)
        return torch_dense(self._pool_all(x), self.num_classes)

    def _pool_all(self, x: Array) -> Array:
        if self.head == 'flatten':
            return flatten(x)
        if self.head == 'average':
            return global_average_pool(x)
        return jnp.concatenate([global_average_pool(x), global_max_pool(x)], axis=-1)

    def _has_residual_branch(self) -> bool:
        if self.block != 'bottleneck':
            return self.block != 'conv'
        # It has one where neither resolution nor width changes.
        between = () if self.pool == 'stride' else itertools.pairwise(self.widths)
        pairs = [(self.stem, self.widths[0]), *between]
        return max(self.depths) > 1 or any(before == after for before, after in pairs)

    def _check(self) -> None:
        for field, known in (('head', _HEADS), ('pool', _POOLS)):
            if getattr(self, field) not in known:
                raise unknown_name(f'model.{field}', getattr(self, field), known)
        if len(self.widths) != len(self.depths) or not self.widths:
            raise UserError(
                'model.widths and model.depths must have a number for each stage, not '
                f'{len(self.widths)} and {len(self.depths)}'
            )
        if self.stochastic_depth and not self._has_residual_branch():
            raise UserError(
                f'model.block {self.block!r} has no residual branch to drop here: set '
                'model.stochastic_depth to 0, or another block'
            )
        for field, values, least in (
            ('widths', self.widths, 1),
            ('depths', self.depths, 1),
            ('expansion', [self.expansion], 1),
            ('stem', [self.stem], 0),
            ('squeeze_excite', [self.squeeze_excite], 0),
        ):
            if min(values) < least:
                raise UserError(
                    f'model.{field} must be whole numbers of at least {least}, not '
                    f'{getattr(self, field)!r}'
                )
