"""Which way to train several runs is the fastest on this machine, by trying."""

from collections.abc import Callable, Sequence

import jax
from ml_collections import ConfigDict

from fmnist_jax.errors import one_line
from fmnist_jax.training.experiment import Experiment
from fmnist_jax.training.sweep.mapping import MAPPINGS, InSequence, RunMapping

# Seconds of training for which another way than in sequence is worth a trial, and the
# share of its time that it must save: one that is as fast today may be slower tomorrow.
_WORTH_A_TRIAL = 120.0
_LEAST_SAVING = 0.05


def choose_mapping(
    experiment: Experiment,
    configs: Sequence[ConfigDict],
    num_steps: int,
    log: Callable[[str], None],
) -> RunMapping:
    """Whichever way is the fastest here for jobs that differ only in numbers.

    Each is tried for a second, after it is compiled, where there is enough to train
    that it can save more than that takes.

    Args:
      experiment: of any of the configs.
      configs: of the jobs.
      num_steps: updates of all the jobs together.
      log: told what was measured.
    """
    in_sequence = InSequence(experiment, configs)
    if len(configs) == 1:
        return in_sequence
    best, least = in_sequence, in_sequence.seconds_per_step()
    if least * num_steps < _WORTH_A_TRIAL:
        return in_sequence
    measured = {'sequence': least}
    for name in ('devices', 'vmap'):
        if name == 'devices' and jax.local_device_count() == 1:
            continue
        other = MAPPINGS[name](experiment, configs)
        try:
            measured[name] = other.seconds_per_step()
        except jax.errors.JaxRuntimeError as error:
            log(f'{name}: not possible: {one_line(error)}')
            continue
        limit = least if best is not in_sequence else least * (1 - _LEAST_SAVING)
        if measured[name] < limit:
            best, least = other, measured[name]
    times = ', '.join(f'{name} {1e3 * x:.2f}' for name, x in measured.items())
    log(f'milliseconds an update of a run: {times}')
    return best
