"""Compares runs: python -m fmnist_jax.compare runs/tinyvgg runs/vgg_like"""

from absl import flags

from fmnist_jax import cli

_OUTPUT = flags.DEFINE_string(
    'output', 'runs/comparison', 'The folder to write the table and the page in.'
)


def main(workdirs: list[str]) -> None:
    """Compares the runs in the work folders."""
    # Matplotlib takes a while to import; a mistake in the flags is told without it.
    from fmnist_jax.reporting.comparison.compare import compare  # noqa: PLC0415

    compare(workdirs, _OUTPUT.value)


if __name__ == '__main__':
    cli.run(main, arguments='WORKDIR...')
