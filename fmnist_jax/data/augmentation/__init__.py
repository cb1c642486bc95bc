"""Random changes to training images, on the device, composed from the config.

An operation maps one image and a key to an image; keys come from the example's
position in the global batch, so results do not depend on the number of devices. To add
one, write a function of (key, image) and keyword arguments, each with a default and
annotated with what a config may give (see arguments.py), and add a line to
`compose.OPERATIONS`.
"""

from fmnist_jax.data.augmentation.compose import Augmentation, make_augmentation

__all__ = ['Augmentation', 'make_augmentation']
