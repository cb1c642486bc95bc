"""Scores corrupted images: python -m fmnist_jax.robustness --workdir=runs/tinyvgg"""

from absl import flags

from fmnist_jax import cli, scoring_flags

_WORKDIR = flags.DEFINE_string('workdir', None, 'The work folder of a run.')
_WHAT = scoring_flags.define_what()
flags.mark_flag_as_required('workdir')


def main() -> None:
    """Measures as the flags say."""
    # JAX takes seconds to import; a mistake in the flags is told without it.
    from fmnist_jax.training.evaluation.robustness import measure_robustness  # noqa: PLC0415

    measure_robustness(_WORKDIR.value, **_WHAT())


if __name__ == '__main__':
    cli.run(main)
