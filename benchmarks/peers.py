"""Trains beside PyTorch and Keras, and compares: python -m benchmarks.peers

    pip install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
    python -m venv keras && keras/bin/pip install keras==3.15.1 tensorflow-cpu==2.21.0
    python -m benchmarks.peers --keras_python=keras/bin/python --output=peers.json

The first line is the extra `bench`, from PyTorch's own index: that build is for CPUs
and a tenth of the size of the default one. Keras has an environment of its own, so that
TensorFlow is not in this project's. A peer that is not installed is left out.

Compared are this project's training step as `fmnist_jax.main` runs it (gather,
normalise, forward, backward, update), PyTorch eager, eager with channels last and with
torch.compile, and Keras' `fit` on TensorFlow. For all:

- two cores and two threads; float32; the optimizer and batch size of the workload;
- examples in memory, no loader, the same order; peers have theirs normalised before;
- compilation is not timed; dropout is on when timing, off when losses are compared;
- a process each, idle while others have their turn, turn by turn for some rounds.

First, from the same initial weights, the losses of the first 20 steps must agree within
0.2 %, the first within 0.01 % (see `benchmark` for why). The ratio to the best peer is
the median over the rounds of ours to whichever peer was the fastest in that round.
`useful` is what the model's convolutions and matrix products need, counted as direct
ones, forward and both gradients (see `work`), as a fraction of what the machine does in
float32 products of matrices of 2048 x 2048, measured in the same rounds.

Works on a CPU only; takes about 20 minutes, on a machine with nothing else to do.
"""

import sys

from absl import flags

from benchmarks import lineup
from benchmarks.process import Entrant
from benchmarks.workloads import DEFAULT, Workload
from fmnist_jax import cli
from fmnist_jax.errors import UserError

_MODELS = flags.DEFINE_list(
    'models', list(DEFAULT), 'What to train: models and their batch sizes.'
)
_PEERS = flags.DEFINE_list(
    'peers', list(lineup.PEERS), 'Whom to compare with; nothing for no one.'
)
_ROUNDS = flags.DEFINE_integer('rounds', 7, 'Turns of each.', lower_bound=1)
_SECONDS = flags.DEFINE_float(
    'seconds', 2.0, 'How long a turn lasts, about.', lower_bound=0.01
)
_KERAS_PYTHON = flags.DEFINE_string(
    'keras_python', sys.executable, 'The interpreter that has Keras and TensorFlow.'
)
_OUTPUT = flags.DEFINE_string(
    'output', None, 'A JSON file to write everything measured to.'
)
_QUICK = flags.DEFINE_bool(
    'quick', False, 'Two turns of a moment each: to see that it works, no measurement.'
)


def main() -> None:
    """Compares as the flags say."""
    workloads = [Workload.parse(text) for text in _MODELS.value]
    if not workloads:
        raise UserError('--models names nothing to train')
    entrants = lineup.entrants(_PEERS.value, _KERAS_PYTHON.value)
    try:
        _run(workloads, entrants)
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        sys.exit(130)


def _run(workloads: list[Workload], entrants: list[Entrant]) -> None:
    # Takes seconds to import; a mistake in the flags is told without it.
    from benchmarks import report  # noqa: PLC0415

    settings = report.Settings(_ROUNDS.value, _SECONDS.value)
    if _QUICK.value:
        settings = report.Settings(rounds=2, seconds=0.05)
    report.run(workloads, entrants, settings, _OUTPUT.value)


if __name__ == '__main__':
    cli.run(main)
