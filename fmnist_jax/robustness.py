"""Scores corrupted images: python -m fmnist_jax.robustness --workdir=runs/tinyvgg"""

from absl import flags

from fmnist_jax import cli
from fmnist_jax import config as config_lib

_WORKDIR = flags.DEFINE_string('workdir', None, 'The work folder of a run.')
_SPLIT = flags.DEFINE_enum(
    'split', 'test', config_lib.SPLITS, "Which of the config's splits."
)
_CHECKPOINT = flags.DEFINE_string(
    'checkpoint', 'best', 'best (highest validation accuracy), last, or a step.'
)
_DATA_DIR = flags.DEFINE_string(
    'data_dir', None, "Where data are prepared; default: as in the run's config."
)
_IDX_DIR = flags.DEFINE_string(
    'idx_dir', None, "A folder of IDX files; default: as in the run's config."
)
flags.mark_flag_as_required('workdir')


def main() -> None:
    """Measures as the flags say."""
    # JAX takes seconds to import; a mistake in the flags is told without it.
    from fmnist_jax.training.evaluation.robustness import measure_robustness  # noqa: PLC0415

    measure_robustness(
        _WORKDIR.value,
        _SPLIT.value,
        _CHECKPOINT.value,
        data_dir=_DATA_DIR.value,
        idx_dir=_IDX_DIR.value,
    )


if __name__ == '__main__':
    cli.run(main)
