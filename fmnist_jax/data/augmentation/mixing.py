"""Operations that mix an example with a partner, images and labels in equal shares."""

from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, Int32, Key, UInt8

from fmnist_jax.data.augmentation.arguments import Probability, number
from fmnist_jax.data.augmentation.rectangles import Rectangle

# Shares are multiples of one 2**15th: whatever is computed with them is then exact,
# and the same on every device.
_SHARE_BITS = 15

Alpha = Annotated[float, number(0.01, 100)]


class Mixable(NamedTuple):
    """An example, or a batch of them.

    Attributes:
      image: uint8 [height, width, channels].
      label: float32 [classes], the share of each class; where no operation mixes, the
        class, int32 [].
    """

    image: UInt8[Array, '*b h w c']
    label: Float32[Array, '*b classes'] | Int32[Array, '*b']


def mixup(
    key: Key[Array, ''],
    example: Mixable,
    partner: Mixable,
    *,
    alpha: Alpha = 0.2,
    probability: Probability = 1.0,
) -> Mixable:
    """Averages an example and its partner, in shares drawn from Beta(alpha, alpha).

    Zhang et al. (2018), https://arxiv.org/abs/1710.09412.

    Args:
      key: of the example.
      example: what is mixed.
      partner: another one.
      alpha: the larger, the more even the shares.
      probability: of mixing.
    """
    return mixup_by(example, partner, _draw_share(key, alpha, probability))


def cutmix(
    key: Key[Array, ''],
    example: Mixable,
    partner: Mixable,
    *,
    alpha: Alpha = 1.0,
    probability: Probability = 1.0,
) -> Mixable:
    """Puts a rectangle of the partner into an example, at the same place.

    Yun et al. (2019), https://arxiv.org/abs/1905.04899: the example's share is drawn
    from Beta(alpha, alpha), the middle of the rectangle may be any pixel; what is
    beyond the image is cut off, and labels have the shares that pixels have.

    Args:
      key: of the example.
      example: what is mixed.
      partner: another one.
      alpha: the larger, the more even the shares.
      probability: of mixing.
    """
    height, width, _ = example.image.shape
    share_key, place_key = jax.random.split(key)
    side = jnp.sqrt(1 - _draw_share(share_key, alpha, probability) / 2**_SHARE_BITS)
    limits = jnp.array([height, width], jnp.int32)
    halves = (limits * side).astype(jnp.int32) // 2
    middle = jax.random.randint(place_key, (2,), 0, limits, jnp.int32)
    return cutmix_by(
        example, partner, Rectangle(*(middle - halves), *(middle + halves))
    )


def mixup_by(example: Mixable, partner: Mixable, share: Int32[Array, '']) -> Mixable:
    """Averages, images to the nearest.

    Args:
      example: of which `share` 2**15ths are taken.
      partner: of which the rest is taken.
      share: 0 to 2**15.
    """
    own, other = example.image.astype(jnp.int32), partner.image.astype(jnp.int32)
    half = 1 << (_SHARE_BITS - 1)
    image = (other * (1 << _SHARE_BITS) + share * (own - other) + half) >> _SHARE_BITS
    share = share.astype(jnp.float32) / 2**_SHARE_BITS
    return Mixable(image.astype(jnp.uint8), _mix_labels(example, partner, share))


def cutmix_by(example: Mixable, partner: Mixable, cut: Rectangle) -> Mixable:
    """Puts what the partner has in a rectangle, which may reach beyond the image."""
    height, width, _ = example.image.shape
    mask = cut.mask(height, width)
    image = jnp.where(mask, partner.image, example.image)
    share = jnp.mean(~mask, dtype=jnp.float32)
    return Mixable(image, _mix_labels(example, partner, share))


def _mix_labels(
    example: Mixable, partner: Mixable, share: Float32[Array, '']
) -> Float32[Array, ' classes']:
    return share * example.label + (1 - share) * partner.label


def _draw_share(
    key: Key[Array, ''], alpha: float, probability: float
) -> Int32[Array, '']:
    """The example's own share, in 2**15ths; all of it where nothing is mixed."""
    apply_key, share_key = jax.random.split(key)
    applied = jax.random.uniform(apply_key, (), jnp.float32) < probability
    share = jax.random.beta(share_key, alpha, alpha, dtype=jnp.float32)
    whole = 1 << _SHARE_BITS
    return jnp.where(applied, jnp.round(share * whole).astype(jnp.int32), whole)
