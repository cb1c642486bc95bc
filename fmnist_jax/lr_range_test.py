"""Finds a rate: python -m fmnist_jax.lr_range_test --config=configs/tinyvgg.py"""

from absl import flags
from ml_collections import config_flags

from fmnist_jax import cli
from fmnist_jax import config as config_lib

_CONFIG = config_flags.DEFINE_config_file('config', None, 'The config file.')
_WORKDIR = flags.DEFINE_string(
    'workdir',
    None,
    'Where the result is written; default: that of fmnist_jax.main with -lr at its '
    'end.',
)
_PER = flags.DEFINE_enum(
    'per',
    'step',
    ['step', 'epoch'],
    'How long a learning rate stays the same. After each epoch, validation is scored.',
)
_MIN = flags.DEFINE_float(
    'min', None, 'The first learning rate; default: 1e-5 per step, 1e-4 per epoch.'
)
_MAX = flags.DEFINE_float(
    'max', None, 'The last learning rate; default: 10 per step, 1 per epoch.'
)
_DURATION = flags.DEFINE_string(
    'duration',
    None,
    "How long the test takes, such as '500 steps', '2 epochs' or '1e6 examples'; "
    'default: 1 epoch per step, 50 epochs per epoch.',
)
flags.mark_flag_as_required('config')


def main() -> None:
    """Tests as the flags say."""
    # JAX takes seconds to import; a mistake in the flags is told without it.
    from fmnist_jax.training.lr_range_test.range_test import Rise, run_range_test  # noqa: PLC0415

    overrides = config_flags.get_override_values(flags.FLAGS['config'])
    path = config_flags.get_config_filename(flags.FLAGS['config'])
    workdir = _WORKDIR.value or f'{config_lib.default_workdir(path, overrides)}-lr'
    rise = Rise.create(_PER.value, _MIN.value, _MAX.value, _DURATION.value)
    run_range_test(_CONFIG.value, workdir, rise)


if __name__ == '__main__':
    cli.run(main)
