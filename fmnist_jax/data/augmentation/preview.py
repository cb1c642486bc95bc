"""What augmentation makes of a few training images, to be looked at."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int32, Integer
from ml_collections import ConfigDict

from fmnist_jax.data.augmentation.compose import make_augmentation
from fmnist_jax.data.batches import Examples, example_keys
from fmnist_jax.data.dataset import Dataset
from fmnist_jax.reporting.figures.augmentation import Drawn


def draw_examples(
    config: ConfigDict, dataset: Dataset, *, count: int = 12, draws: int = 6
) -> Drawn:
    """Changes the first training images of each class as training would.

    Args:
      config: the seed, the training split and the augmentation are used.
      dataset: with a training split that is not empty.
      count: images, at most.
      draws: how often each is changed: as at the first places of so many first steps.
    """
    images, labels = dataset.split(config.data.train_split)
    chosen = _first_of_each_class(labels, count)
    augment = make_augmentation(config.augmentation, dataset.num_classes)

    @jax.jit
    def draw(examples, step):
        places = jnp.arange(len(chosen), dtype=jnp.int32)
        keys = example_keys(jnp.uint32(config.seed), step, places)
        return augment(keys, examples, jnp.asarray(chosen))

    examples = Examples(jnp.asarray(images), jnp.asarray(labels, jnp.int32))
    results = [draw(examples, jnp.int32(step)) for step in range(draws)]
    changed, shares = (np.stack(part) for part in zip(*results, strict=True))
    return Drawn(
        images[chosen], labels[chosen], changed, shares if shares.ndim == 3 else None
    )


def _first_of_each_class(
    labels: Integer[np.ndarray, ' n'], count: int
) -> Int32[np.ndarray, ' chosen']:
    """The first examples of the classes, then the second ones, and so on, sorted."""
    order = np.argsort(labels, kind='stable')
    ordered = labels[order]
    starts = np.searchsorted(ordered, ordered)
    # Which one of its class each is.
    numbers = np.arange(len(labels)) - starts
    chosen = order[np.lexsort((ordered, numbers))][:count]
    return chosen[np.argsort(labels[chosen], kind='stable')].astype(np.int32)
