"""Exports a trained model as one file.

python -m fmnist_jax.export --workdir=runs/tinyvgg --output=tinyvgg.stablehlo
"""

from absl import flags

from fmnist_jax import cli

_WORKDIR = flags.DEFINE_string('workdir', None, 'The work folder of a run.')
_OUTPUT = flags.DEFINE_string('output', None, 'The file to write.')
_CHECKPOINT = flags.DEFINE_string(
    'checkpoint', 'best', 'best (highest validation accuracy), last, or a step.'
)
flags.mark_flags_as_required(['workdir', 'output'])


def main() -> None:
    """Exports as the flags say."""
    # JAX takes seconds to import; a mistake in the flags is told without it.
    from fmnist_jax.training.exporting.export import export  # noqa: PLC0415

    export(_WORKDIR.value, _OUTPUT.value, _CHECKPOINT.value)


if __name__ == '__main__':
    cli.run(main)
