"""What the recipes of the five projects have in common; no recipe by itself.

Pixels are divided by 255 and nothing else, all 60,000 training images are trained on,
and the test set is the validation set: in these recipes the test set chooses the epoch
that is called best, so that figures at that epoch are better than on images never seen.
"""

from collections.abc import Iterable

from ml_collections import ConfigDict

from configs import default
from fmnist_jax.errors import unknown_name


def get_config() -> ConfigDict:
    config = default.get_config()
    config.data.train_split = 'train'
    config.data.validation_split = 'test'
    return config


def check_variant(variant: str, variants: Iterable[str]) -> None:
    """Refuses a variant that a config does not know.

    Args:
      variant: what stands after the colon of `--config=configs/seeds/NAME.py:VARIANT`.
      variants: those that it knows.

    Raises:
      UserError: it is none of them.
    """
    if variant not in variants:
        raise unknown_name('variant of the config', variant, variants)


def use_keras_adam(config: ConfigDict) -> None:
    """Sets Keras's Adam with its defaults, https://keras.io/api/optimizers/adam/."""
    config.optimizer.name = 'adam'
    config.optimizer.learning_rate = 1e-3
    config.optimizer.eps = 1e-7
