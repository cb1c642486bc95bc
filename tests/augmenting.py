"""What the tests of augmentation share: keys as training gives them, compiled once."""

import functools
import json
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from fmnist_jax.data import Dataset
from fmnist_jax.data.augmentation import make_augmentation
from fmnist_jax.data.batches import Examples, example_keys
from fmnist_jax.training.parallel import jit_once

NUM_CLASSES = 10


def real_examples(dataset: Dataset, count: int) -> Examples:
    """The first training examples."""
    images, labels = dataset.split(f'train[:{count}]')
    return Examples(jnp.asarray(images), jnp.asarray(labels.astype(np.int32)))


def copies_of(image: np.ndarray | jax.Array, count: int) -> Examples:
    """One image of label 0, over and over."""
    images = jnp.broadcast_to(image, (count, *image.shape))
    return Examples(images, jnp.zeros(count, jnp.int32))


def colour(images: np.ndarray | jax.Array) -> np.ndarray:
    """Grey images as colour ones whose channels differ."""
    images = np.asarray(images)
    shifted = np.roll(images, 3, axis=2)
    return np.concatenate([images, 255 - images[::-1], shifted], axis=-1)


def positions(count: int) -> jax.Array:
    return jnp.arange(count, dtype=jnp.int32)


def keys_of(step: int, places: jax.Array) -> jax.Array:
    """The keys that training gives to these places of a step's batch."""
    return _compiled_keys()(jnp.uint32(0), jnp.int32(step), places)


@functools.cache
def _compiled_keys() -> Callable:
    return jit_once(example_keys)


def run(
    examples: Examples, *operations: dict, step: int = 0, copies: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of each example once; with copies, of all that indices name."""
    places = positions(len(examples.labels) * (1 + copies))
    function = compiled(json.dumps(operations), copies)
    images, labels = function(keys_of(step, places), examples, places)
    assert images.dtype == jnp.uint8
    return np.asarray(images), np.asarray(labels)


def augment(examples: Examples, *operations: dict, step: int = 0) -> np.ndarray:
    """The images of `run`."""
    return run(examples, *operations, step=step)[0]


def compiled(operations: str, copies: int = 0) -> Callable:
    """Compiled from JSON, as a config is that is read back from a work folder."""
    return _compiled(operations, copies)


@functools.cache
def _compiled(operations: str, copies: int) -> Callable:
    return jit_once(make_augmentation(json.loads(operations), NUM_CLASSES, copies))


def map_images(function: Callable, images, *arguments) -> np.ndarray:
    """A function of an image and of what else is one an image, compiled and mapped."""
    mapped = jit_once(jax.vmap(function))
    return np.asarray(mapped(jnp.asarray(images), *map(jnp.asarray, arguments)))
