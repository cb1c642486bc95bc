"""Trains a model: python -m fmnist_jax.main --config=configs/tinyvgg.py"""

import time

from absl import flags
from ml_collections import config_flags

from fmnist_jax import cli
from fmnist_jax import config as config_lib
from fmnist_jax.stopping import StopSignals

_CONFIG = config_flags.DEFINE_config_file('config', None, 'The config file.')
_WORKDIR = flags.DEFINE_string(
    'workdir',
    None,
    'Where everything is written; default: runs/ plus the name of the config file and '
    'its variant, and a hash of the --config.… overrides if there are any.',
)
_PROFILE = flags.DEFINE_bool(
    'profile',
    False,
    "Trace some steps into the work folder's profile/, for TensorBoard or Perfetto.",
)
_COORDINATOR = flags.DEFINE_string(
    'coordinator_address',
    None,
    'HOST:PORT of the first of several processes that train together; on Cloud TPU '
    'they find each other.',
)
_NUM_PROCESSES = flags.DEFINE_integer('num_processes', None, 'How many there are.')
_PROCESS_ID = flags.DEFINE_integer('process_id', None, 'Which this is, from 0.')
flags.mark_flag_as_required('config')


def main() -> None:
    """Trains as the flags say."""
    with StopSignals() as stop:
        _train(stop)


def _train(stop: StopSignals) -> None:
    started = time.perf_counter()
    # JAX takes seconds to import; a mistake in the flags is told without it.
    from fmnist_jax.training import joining  # noqa: PLC0415
    from fmnist_jax.training.train import train_and_evaluate  # noqa: PLC0415

    import_seconds = time.perf_counter() - started
    overrides = config_flags.get_override_values(flags.FLAGS['config'])
    path = config_flags.get_config_filename(flags.FLAGS['config'])
    workdir = _WORKDIR.value or config_lib.default_workdir(path, overrides)
    with joining.joined(_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value):
        train_and_evaluate(
            _CONFIG.value,
            workdir,
            profile=_PROFILE.value,
            import_seconds=import_seconds,
            stop=stop,
        )


if __name__ == '__main__':
    cli.run(main)
