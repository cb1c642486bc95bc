"""Rectangles of pixels: what erasing, cutout and cutmix cut out."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int32


class Rectangle(NamedTuple):
    """Rows from `top` to before `bottom`, columns from `left` to before `right`."""

    top: Int32[Array, '']
    left: Int32[Array, '']
    bottom: Int32[Array, '']
    right: Int32[Array, '']

    def mask(self, height: int, width: int) -> Bool[Array, 'h w 1']:
        """Which pixels of an image are in it; it may reach beyond the image."""
        rows = jnp.arange(height, dtype=jnp.int32)[:, None, None]
        columns = jnp.arange(width, dtype=jnp.int32)[:, None]
        return (
            (rows >= self.top)
            & (rows < self.bottom)
            & (columns >= self.left)
            & (columns < self.right)
        )
