"""Random changes to training images, on the device, composed from the config.

An operation maps a key and an image to an image, or if it mixes, a key and two
examples to one. Keys come from the example's position in the global batch, so results
do not depend on the number of devices. To add one, write such a function, whose keyword
arguments each have a default and say what a config may give (see arguments.py), and
name it in registry.py.
"""

from fmnist_jax.data.augmentation.compose import (
    Augmentation,
    check_images,
    make_augmentation,
)
from fmnist_jax.data.augmentation.registry import OPERATIONS

__all__ = ['OPERATIONS', 'Augmentation', 'check_images', 'make_augmentation']
