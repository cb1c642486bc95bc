"""Alters training images, once: python -m fmnist_jax.augment_data --config=… --output=…

The folder it writes is trained on by `--config.data.idx_dir=FOLDER` and a
`--config.data.name` of its own. It replaces nothing but what the same config and flags
would write again.
"""

from absl import flags
from ml_collections import config_flags

from fmnist_jax import cli

_CONFIG = config_flags.DEFINE_config_file(
    'config', None, 'The config file, of which `data`, `augmentation` and `seed` count.'
)
_OUTPUT = flags.DEFINE_string(
    'output', None, 'The folder of IDX files that is written.'
)
_COPIES = flags.DEFINE_integer(
    'copies', 2, 'Altered copies of each training image, besides itself.', lower_bound=1
)
_ORDER = flags.DEFINE_enum(
    'order',
    'grouped',
    ('grouped', 'shuffled'),
    'grouped: an image and its copies side by side, so that a split by position keeps '
    'them together; shuffled: in any order, so that it has copies of one image on both '
    'sides.',
)
flags.mark_flags_as_required(['config', 'output'])


def main() -> None:
    """Alters as the flags say."""
    # JAX takes seconds to import; a mistake in the flags is told without it.
    from fmnist_jax.data.altered import augment_data  # noqa: PLC0415

    augment_data(_CONFIG.value, _OUTPUT.value, _COPIES.value, _ORDER.value)


if __name__ == '__main__':
    cli.run(main)
