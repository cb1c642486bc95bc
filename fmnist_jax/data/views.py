"""Views of an image: what a model is asked about, to take the mean of what it says."""

from collections.abc import Callable
from types import MappingProxyType

import numpy as np
from jaxtyping import UInt8

from fmnist_jax.errors import unknown_name

_View = Callable[[np.ndarray], np.ndarray]

# A single look at each image.
NONE = 'none'


def _as_it_is(images: UInt8[np.ndarray, 'n h w c']) -> UInt8[np.ndarray, 'n h w c']:
    return images


def _mirrored(images: UInt8[np.ndarray, 'n h w c']) -> UInt8[np.ndarray, 'n h w c']:
    return images[:, :, ::-1]


_VIEWS: MappingProxyType[str, tuple[_View, ...]] = MappingProxyType(
    {NONE: (_as_it_is,), 'flip': (_as_it_is, _mirrored)}
)


def check_name(views: str) -> None:
    """Checks the name of a set of views.

    Raises:
      UserError: there is none of this name.
    """
    if views not in _VIEWS:
        raise unknown_name('views', views, _VIEWS)


def views_of(
    images: UInt8[np.ndarray, 'n h w c'], views: str
) -> list[UInt8[np.ndarray, 'n h w c']]:
    """The images, each as a model is to see it in turn.

    Args:
      images: a split.
      views: `none`, the images as they are; `flip`, these and their mirror images.
    """
    return [view(images) for view in _VIEWS[views]]
