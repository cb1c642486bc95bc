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
        num_examples = len(examples.labels)
        sources = indices % num_examples if augmented_copies else indices
        keys, sources = _add_partners(operations, keys, sources, num_examples)
        labels = examples.labels[sources]
        if mixes:
            labels = jax.nn.one_hot(labels, num_classes, dtype=jnp.float32)
        originals = Mixable(examples.images[sources], labels)
        changed = _apply(operations, keys, originals)
        if augmented_copies:
            originals = Mixable(*(part[: len(indices)] for part in originals))
            changed = _choose(indices >= num_examples, changed, originals)
        images = _computed_once(changed.image) if operations else changed.image
        return images, changed.label

    return augment


def check_images(augment: Augmentation, image_shape: tuple[int, int, int]) -> None:
    """Checks that images of this size and colour can be changed so; computes nothing.

    Args:
      augment: from `make_augmentation`.
      image_shape: height, width, channels.

    Raises:
      UserError: an operation does not take them.
    """

    def change(images: UInt8[Array, 'n h w c'], labels: Int32[Array, ' n']) -> Any:
        return augment(
            jax.random.split(jax.random.key(0), 1), Examples(images, labels), labels
        )

    jax.eval_shape(
        change,
        jax.ShapeDtypeStruct((1, *image_shape), jnp.uint8),
        jax.ShapeDtypeStruct((1,), jnp.int32),
    )


def _add_partners(
    operations: Sequence[Operation],
    keys: Key[Array, ' b'],
    sources: Int32[Array, ' b'],
    num_examples: int,
) -> tuple[Key[Array, ' rows'], Int32[Array, ' rows']]:
    """Doubles a batch for each operation that mixes: partners stand below.

    The partner of each example is drawn from all examples by the example's own key,
    not from its batch, so that it does not depend on how a batch is spread over
    devices. It goes through the operations before with a key of its own.
    """

    def draw(key: Key[Array, '']) -> tuple[Key[Array, ''], Int32[Array, '']]:
        _, index_key, partner_key = jax.random.split(key, 3)
        index = jax.random.randint(index_key, (), 0, num_examples, jnp.int32)
        return partner_key, index

    # From the last: what it mixes has partners of its own in those before.
    for i in reversed(range(len(operations))):
        if operations[i].mixes:
            partner_keys, partners = jax.vmap(draw)(_keys_of(i, keys))
            keys = jnp.concatenate([keys, partner_keys])
            sources = jnp.concatenate([sources, partners])
    return keys, sources


def _apply(
    operations: Sequence[Operation], keys: Key[Array, ' rows'], rows: Mixable
) -> Mixable:
    """Changes a batch with the partners that `_add_partners` gave it.

    Returns:
      The batch, without partners.
    """
    for i, operation in enumerate(operations):
        if operation.mixes:
            half = len(keys) // 2
            keys = keys[:half]
            mixing = jax.vmap(jax.random.split, (0, None))(_keys_of(i, keys), 3)[:, 0]
            examples = Mixable(*(part[:half] for part in rows))
            partners = Mixable(*(part[half:] for part in rows))
            rows = jax.vmap(operation.function)(mixing, examples, partners)
        else:
            images = jax.vmap(operation.function)(_keys_of(i, keys), rows.image)
            rows = rows._replace(image=images)
    return rows


def _keys_of(i: int, keys: Key[Array, ' rows']) -> Key[Array, ' rows']:
    """The keys of an operation, by its place in the config."""
    return jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, i)


def _computed_once(images: UInt8[Array, 'b h w c']) -> UInt8[Array, 'b h w c']:
    """The same images, looked up.

    XLA merges what is computed for each pixel with all that uses it, and on a CPU so
    computes it several times, and slowly: three times the time of a rotation, where a
    batch is cut into chunks. It does not merge across a look-up of whole images.
    """
    rows = jnp.arange(len(images), dtype=jnp.int32)
    return images.at[rows].get(mode='promise_in_bounds')


def _choose(which: Bool[Array, ' b'], if_true: Mixable, if_false: Mixable) -> Mixable:
    """Of each place in a batch one or the other."""

    def choose(which: Bool[Array, ''], *both: Mixable) -> Mixable:
        return jax.tree.map(lambda a, b: jnp.where(which, a, b), *both)

    return jax.vmap(choose)(which, if_true, if_false)
