"""Shows what is in the data: python -m fmnist_jax.show_data --output=runs/data"""

from pathlib import Path

from absl import flags
from ml_collections import config_flags

from fmnist_jax import cli

# Beside the package, whatever else may be called `configs` where one stands.
_DEFAULT = Path(__file__).parent.parent / 'configs' / 'default.py'

_CONFIG = config_flags.DEFINE_config_file(
    'config',
    None,
    'The config file, of which `data` and augmentation count; default: '
    'configs/default.py.',
)
_OUTPUT = flags.DEFINE_string(
    'output', None, 'The folder to write to; default: runs/data- plus the data name.'
)


def main() -> None:
    """Shows the data as the flags say."""
    # Matplotlib takes a while to import; a mistake in the flags is told without it.
    from fmnist_jax.data.show import show_data  # noqa: PLC0415

    show_data(_CONFIG.value, _OUTPUT.value)


if __name__ == '__main__':
    cli.run(main, default_config=_DEFAULT)
