"""Trains a grid of configs: python -m fmnist_jax.sweep --config=… --grid=FIELD=A,B"""

from absl import flags
from ml_collections import config_flags

from fmnist_jax import cli, grid
from fmnist_jax import config as config_lib
from fmnist_jax.stopping import StopSignals

_CONFIG = config_flags.DEFINE_config_file('config', None, 'The config file.')
_GRID = flags.DEFINE_multi_string(
    'grid',
    [],
    'A config field and the values to try, FIELD=VALUE,VALUE; several flags make a '
    'grid of every combination.',
)
_SEEDS = flags.DEFINE_integer(
    'seeds', 1, "How many seeds of each, counted from the config's."
)
_WORKDIR = flags.DEFINE_string(
    'workdir',
    None,
    'The folder of the sweep, which holds the work folder of each run; default: that '
    'of fmnist_jax.main with -sweep behind it.',
)
_MAPPING = flags.DEFINE_enum(
    'mapping',
    'auto',
    ('auto', 'vmap', 'devices', 'sequence'),
    'How runs share the devices: together in one program, one on each device, one '
    'after another, or whichever is fastest here.',
)
flags.mark_flag_as_required('config')


def main() -> None:
    """Trains as the flags say."""
    config, texts, seeds = _CONFIG.value, _GRID.value, _SEEDS.value
    # JAX takes seconds to import; a mistake in the grid is told without it.
    grid.make_members(config, grid.parse_grid(texts, config), seeds)
    from fmnist_jax.training.sweep.sweep import sweep  # noqa: PLC0415

    overrides = config_flags.get_override_values(flags.FLAGS['config'])
    path = config_flags.get_config_filename(flags.FLAGS['config'])
    workdir = _WORKDIR.value or f'{config_lib.default_workdir(path, overrides)}-sweep'
    with StopSignals() as stop:
        sweep(config, texts, seeds, workdir, _MAPPING.value, stop=stop)


if __name__ == '__main__':
    cli.run(main)
