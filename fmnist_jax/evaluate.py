"""Scores a checkpoint: python -m fmnist_jax.evaluate --workdir=runs/tinyvgg"""

from absl import flags

from fmnist_jax import cli, scoring_flags

_WORKDIR = flags.DEFINE_string('workdir', None, 'The work folder of a run.')
_WHAT, _HOW = scoring_flags.define_what(), scoring_flags.define_how()
flags.mark_flag_as_required('workdir')


def main() -> None:
    """Evaluates as the flags say."""
    # JAX takes seconds to import; a mistake in the flags is told without it.
    from fmnist_jax.training.evaluation.evaluate import evaluate  # noqa: PLC0415

    evaluate(_WORKDIR.value, **_WHAT(), **_HOW())


if __name__ == '__main__':
    cli.run(main)
