"""Operations composed from the config, into one function of a batch."""

import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32, Key, UInt8

from fmnist_jax.data.augmentation import geometry, rand_augment
from fmnist_jax.data.augmentation.arguments import read_arguments
from fmnist_jax.data.batches import Examples
from fmnist_jax.errors import UserError, unknown_name

Augmentation = Callable[
    [Key[Array, ' b'], Examples, Int32[Array, ' b']],
    tuple[UInt8[Array, 'b h w c'], Int32[Array, ' b'] | Float[Array, 'b classes']],
]


class Operation(NamedTuple):
    """What a name in the config stands for.

    Attributes:
      function: of (key, image) and keyword arguments, to an image.
      check: what is wrong with its arguments taken together; None if nothing is.
    """

    function: Callable
    check: Callable[[dict[str, Any]], str | None] = lambda arguments: None


OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {
        'horizontal_flip': Operation(geometry.horizontal_flip),
        'pad_and_crop': Operation(geometry.pad_and_crop),
        'translate': Operation(geometry.translate),
        'rotate': Operation(geometry.rotate),
        'rand_augment': Operation(
            rand_augment.rand_augment, rand_augment.check_magnitude
        ),
    }
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
      UserError: there is no such operation, or it takes no such argument or value, or
        there is none to change copies by.
    """
    if augmented_copies and not config:
        raise UserError(
            f'augmented_copies is {augmented_copies}, and augmentation is empty: name '
            'the operations that change the copies'
        )
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
    operation = OPERATIONS[name]
    arguments = read_arguments(name, operation.function, entry)
    if problem := operation.check(arguments):
        raise UserError(f'augmentation {name!r}: {problem}')
    return functools.partial(operation.function, **arguments)
