"""Random changes to training images, on the device, composed from the config.

An operation maps one image and a key to an image; keys come from the example's
position in the global batch, so results do not depend on the number of devices. To add
one, write a function of (key, image) and keyword arguments, each with a default of the
type that the config must give, and add a line to `OPERATIONS`.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32, Key, UInt8

from fmnist_jax.data.batches import Examples
from fmnist_jax.errors import UserError, unknown_name

Augmentation = Callable[
    [Key[Array, ' b'], Examples, Int32[Array, ' b']],
    tuple[UInt8[Array, 'b h w c'], Int32[Array, ' b'] | Float[Array, 'b classes']],
]


def horizontal_flip(
    key: Key[Array, ''], image: UInt8[Array, 'h w c'], *, probability: float = 0.5
) -> UInt8[Array, 'h w c']:
    """Mirrors left and right with this probability."""
    flip = jax.random.bernoulli(key, probability)
    return jnp.where(flip, image[:, ::-1], image)


def pad_and_crop(
    key: Key[Array, ''], image: UInt8[Array, 'h w c'], *, padding: int = 2
) -> UInt8[Array, 'h w c']:
    """Pads each side with `padding` black pixels and cuts out a random window."""
    height, width, channels = image.shape
    padded = jnp.pad(image, ((padding, padding), (padding, padding), (0, 0)))
    top, left = jax.random.randint(key, (2,), 0, 2 * padding + 1)
    return jax.lax.dynamic_slice(padded, (top, left, 0), (height, width, channels))


OPERATIONS = MappingProxyType(
    {'horizontal_flip': horizontal_flip, 'pad_and_crop': pad_and_crop}
)


def make_augmentation(
    config: Sequence[Mapping[str, Any]], num_classes: int, augmented_copies: int = 0
) -> Augmentation:
    """Composes operations, applied in order.

    Args:
      config: for each operation its `name` and its keyword arguments.
      num_classes: of the data.
      augmented_copies: 0 to change every example; more for indices below the number
        of examples to stand for these as they are, and those above for so many
        changed copies of each: index i for a copy of example i modulo their number.

    Returns:
      A function of keys [b], the examples and indices [b] of them: images [b, h, w, c]
      and their labels [b].

    Raises:
      UserError: there is no such operation, or it takes no such argument or value.
    """
    operations = [_operation(dict(entry)) for entry in config]

    def augment(keys, examples, indices):
        num_examples = len(examples.labels)
        sources = indices % num_examples if augmented_copies else indices
        originals, labels = examples.images[sources], examples.labels[sources]
        images = originals
        for i, operation in enumerate(operations):
            own = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, i)
            images = jax.vmap(operation)(own, images)
        if augmented_copies:
            copies = (indices >= num_examples)[:, None, None, None]
            images = jnp.where(copies, images, originals)
        return images, labels

    return augment


def _operation(entry: dict[str, Any]) -> Callable:
    name = entry.pop('name', None)
    if name not in OPERATIONS:
        raise unknown_name('augmentation', name, OPERATIONS)
    known = inspect.signature(OPERATIONS[name]).parameters.values()
    defaults = {p.name: p.default for p in known if p.kind is p.KEYWORD_ONLY}
    for argument, value in entry.items():
        if argument not in defaults:
            what = f'argument of augmentation {name!r}'
            raise unknown_name(what, argument, defaults)
        wanted = type(defaults[argument])
        if wanted is float and type(value) is int:
            entry[argument] = float(value)
        elif type(value) is not wanted:
            raise UserError(
                f'augmentation {name!r}: {argument} must be of type {wanted.__name__}, '
                f'not {value!r}'
            )
    if not 0 <= entry.get('probability', 0) <= 1 or entry.get('padding', 0) < 0:
        raise UserError(f'augmentation {name!r}: out of range: {entry}')
    return functools.partial(OPERATIONS[name], **entry)
