"""How long a recipe trains, and how well: python -m benchmarks.time_to_accuracy

    python -m benchmarks.time_to_accuracy --config=configs/frontier/speed.py \\
        --target=0.94 --runs=20 --output=results/runs/time_to_accuracy.json

Counts as airbench does, https://github.com/KellerJordan/cifar10-airbench: a recipe of a
fixed length, trained to its end from each of some seeds. Timed are its updates, with
data on the device, and the order of each epoch. Left out are compilation, by an epoch
that warms up, drawing the initial weights, and evaluation, which comes after the end. A
recipe reaches a target if the mean of its runs does; nothing is chosen by the test set
then. While you choose a recipe, `--split=validation`.

For a machine with nothing else to do.
"""

from pathlib import Path

from absl import flags
from ml_collections import config_flags

from fmnist_jax import cli
from fmnist_jax import workdir as workdir_lib
from fmnist_jax.errors import UserError

_CONFIG = config_flags.DEFINE_config_file('config', None, 'The config file.')
_TARGET = flags.DEFINE_float(
    'target', 0.94, 'The accuracy to reach.', lower_bound=0.0, upper_bound=1.0
)
_RUNS = flags.DEFINE_integer(
    'runs', 20, "How many, with seeds counted from the config's.", lower_bound=1
)
_SPLIT = flags.DEFINE_enum(
    'split', 'test', ('validation', 'test'), "Which of the config's splits is scored."
)
_OUTPUT = flags.DEFINE_string(
    'output', None, 'A JSON file to write everything measured to.'
)
flags.mark_flag_as_required('config')


def main() -> None:
    """Measures, prints, and writes."""
    output = Path(_OUTPUT.value).expanduser() if _OUTPUT.value else None
    if output is not None:
        if output.is_dir():
            raise UserError(f'--output: {output} is a folder; name a file')
        workdir_lib.check(output.parent, 'choose another --output')
    # Takes seconds to import; a mistake in the flags is told without it.
    from benchmarks import timed_runs  # noqa: PLC0415

    report = timed_runs.measure(
        _CONFIG.value, _RUNS.value, _TARGET.value, split=_SPLIT.value
    )
    if output is not None:
        workdir_lib.write_json(output, report)


if __name__ == '__main__':
    cli.run(main)
