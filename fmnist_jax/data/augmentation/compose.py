"""Operations composed from the config, into one function of a batch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32, Key, UInt8

from fmnist_jax.data.augmentation.mixing import Mixable
from fmnist_jax.data.augmentation.registry import Operation, make_operation
from fmnist_jax.data.batches import Examples
from fmnist_jax.errors import UserError

Augmentation = Callable[
    [Key[Array, ' b'], Examples, Int32[Array, ' b']],
    tuple[UInt8[Array, 'b h w c'], Int32[Array, ' b'] | Float32[Array, 'b classes']],
]


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
      and their labels [b]; if an operation mixes examples, instead of labels each
      class's share, float32 [b, num_classes].

    Raises:
      UserError: there is no such operation, or it takes no such argument or value, or
        there is none to change copies with.
    """
    if augmented_copies and not config:
        raise UserError(
            f'augmented_copies is {augmented_copies}, but augmentation is empty: name '
            'the operations that change the copies'
        )
    operations = [make_operation(entry) for entry in config]
    mixes = any(operation.mixes for operation in operations)

    def augment(keys, examples, indices):
        def take(indices: Int32[Array, ' b']) -> Mixable:
            labels = examples.labels[indices]
            if mixes:
                labels = jax.nn.one_hot(labels, num_classes, dtype=jnp.float32)
            return Mixable(examples.images[indices], labels)

        num_examples = len(examples.labels)
        batch = take(indices % num_examples if augmented_copies else indices)
        changed = _apply(operations, keys, batch, take, num_examples)
        if augmented_copies:
            changed = _choose(indices >= num_examples, changed, batch)
        return tuple(changed)

    return augment


def _apply(
    operations: Sequence[Operation],
    keys: Key[Array, ' b'],
    batch: Mixable,
    take: Callable[[Int32[Array, ' b']], Mixable],
    num_examples: int,
) -> Mixable:
    """Changes a batch.

    The partner of each example is drawn from all examples by the example's own key,
    not from its batch, so that it does not depend on how a batch is spread over
    devices. It has been through the operations before this one.
    """
    for i, operation in enumerate(operations):
        own = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, i)
        function = jax.vmap(operation.function)
        if not operation.mixes:
            batch = batch._replace(image=function(own, batch.image))
            continue
        mixing, drawing, changing = jax.vmap(jax.random.split, (0, None), 1)(own, 3)
        partners = take(jax.vmap(_draw_index, (0, None))(drawing, num_examples))
        partners = _apply(operations[:i], changing, partners, take, num_examples)
        batch = function(mixing, batch, partners)
    return batch


def _draw_index(key: Key[Array, ''], num_examples: int) -> Int32[Array, '']:
    return jax.random.randint(key, (), 0, num_examples, jnp.int32)


def _choose(which: Bool[Array, ' b'], if_true: Mixable, if_false: Mixable) -> Mixable:
    """Of each place in a batch one or the other."""

    def choose(which: Bool[Array, ''], *both: Mixable) -> Mixable:
        return jax.tree.map(lambda a, b: jnp.where(which, a, b), *both)

    return jax.vmap(choose)(which, if_true, if_false)
