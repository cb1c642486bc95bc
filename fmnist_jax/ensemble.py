"""Scores several models together.

python -m fmnist_jax.ensemble --workdir=runs/ensemble --members=runs/a,runs/b
"""

from absl import flags

from fmnist_jax import cli, scoring_flags

_WORKDIR = flags.DEFINE_string('workdir', None, 'The folder to write the results in.')
_MEMBERS = flags.DEFINE_list(
    'members', None, 'The work folders of two runs or more, of the same data.'
)
_WHAT, _HOW = scoring_flags.define_what(), scoring_flags.define_how()
flags.mark_flags_as_required(['workdir', 'members'])


def main() -> None:
    """Evaluates as the flags say."""
    # JAX takes seconds to import; a mistake in the flags is told without it.
    from fmnist_jax.training.evaluation.ensemble import evaluate_ensemble  # noqa: PLC0415

    evaluate_ensemble(_WORKDIR.value, _MEMBERS.value, **_WHAT(), **_HOW())


if __name__ == '__main__':
    cli.run(main)
