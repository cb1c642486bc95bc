"""What augmentation costs: python -m benchmarks.augmentation --output=augmentation.json

Trains configs/tinyvgg.py without augmentation and with each operation by its defaults,
as `fmnist_jax.main` would, on two cores, at each batch size: turn by turn for some
rounds, beginning with another one in each. Images a second are the median of the
rounds; the ratio is the median of those to what no augmentation gives in the same
round. Compilation is not timed.

Takes about four minutes, on a machine with nothing else to do.
"""

import os
from pathlib import Path

from absl import flags

from benchmarks import machine
from fmnist_jax import cli
from fmnist_jax import workdir as workdir_lib
from fmnist_jax.errors import UserError

_BATCH_SIZES = flags.DEFINE_list('batch_sizes', ['64', '250'], 'Examples an update.')
_OPERATIONS = flags.DEFINE_list(
    'operations',
    None,
    'Those of fmnist_jax/data/augmentation/registry.py; default: all.',
)
_ROUNDS = flags.DEFINE_integer('rounds', 31, 'Turns of each.', lower_bound=1)
_SECONDS = flags.DEFINE_float(
    'seconds', 0.4, 'How long a turn lasts, about.', lower_bound=0.01
)
_OUTPUT = flags.DEFINE_string(
    'output', None, 'A JSON file to write everything measured to.'
)


def main() -> None:
    """Measures, prints, and writes."""
    sizes = [_batch_size(text) for text in _BATCH_SIZES.value]
    output = Path(_OUTPUT.value).expanduser() if _OUTPUT.value else None
    if output is not None:
        if output.is_dir():
            raise UserError(f'--output: {output} is a folder; name a file')
        workdir_lib.check(output.parent, 'choose another --output')
    machine.use_cores()
    os.environ |= machine.environment()
    # Takes seconds to import; a mistake in the flags is told without it.
    from benchmarks import turns  # noqa: PLC0415

    names = turns.check_operations(_OPERATIONS.value)
    report = turns.measure(sizes, names, _ROUNDS.value, _SECONDS.value)
    if output is not None:
        workdir_lib.write_json(output, report)


def _batch_size(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise UserError(f'--batch_sizes: {text!r} is no whole number above 0')
    return int(text)


if __name__ == '__main__':
    cli.run(main)
