"""Whole runs of a recipe, timed without compilation and evaluation."""

import collections
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from fmnist_jax import config as config_lib
from fmnist_jax.data.batches import Examples
from fmnist_jax.errors import DivergenceError, UserError
from fmnist_jax.reporting.console import log
from fmnist_jax.reporting.metrics import loss_and_accuracy
from fmnist_jax.reporting.text import spread
from fmnist_jax.training import provenance
from fmnist_jax.training.build import build_experiment, with_numbers_of
from fmnist_jax.training.configure import configure_jax
from fmnist_jax.training.experiment import Experiment
from fmnist_jax.training.program import Program
from fmnist_jax.training.state import TrainState, num_parameters

# As the training loop does, so many calls are handed over before a result is awaited:
# with more, the threads of virtual CPU devices wait for each other for ever.
_CALLS_AHEAD = 2


def measure(
    config: ConfigDict, num_runs: int, target: float, *, split: str = 'test'
) -> dict[str, Any]:
    """Trains a recipe to its end from several seeds, and tells how it goes.

    Args:
      config: see configs/default.py; its seed is the first.
      num_runs: one at least.
      target: the accuracy to reach, a fraction.
      split: `test` or `validation`, scored after each run's end.

    Returns:
      All of it, as plain data: of each run `seed`, `seconds` and `accuracy`, and what
      `summarize` makes of them.

    Raises:
      UserError: the config or the data are not what they should be.
      DivergenceError: a run diverged.
    """
    configure_jax(config)
    if config.init_from is not None:
        raise UserError(
            'init_from must be None: what went before would not be timed; leave it out'
        )
    if config.distillation.teachers:
        raise UserError(
            'distillation.teachers must be empty: their training would not be timed; '
            'leave them out'
        )
    experiments = [build_experiment(config, log=log)]
    for number in range(1, num_runs):
        another = ConfigDict(config)
        another.seed = config.seed + number
        experiments.append(with_numbers_of(experiments[0], another))
    first = experiments[0]
    log(f'devices: {first.group.describe()}, JAX {jax.__version__}')
    program = Program(first)
    scored = first.place(*first.dataset.split(config.data[f'{split}_split']))
    started = time.perf_counter()
    state = _train(program, first, first.create_state(), num_epochs=1)
    _accuracy(program, state, scored)
    log(f'warm-up: {time.perf_counter() - started:.1f} s')
    runs = [_run(program, experiment, scored) for experiment in experiments]
    report = {
        'git_commit': provenance.git_commit(),
        'host': {'cpu': provenance.cpu_model()},
        'devices': {
            'number': len(first.group),
            'platform': first.group.devices[0].platform,
            'kind': first.group.devices[0].device_kind,
        },
        'versions': {'jax': jax.__version__},
        'config': config_lib.to_dict(config),
        'num_parameters': num_parameters(state.params),
        'split': split,
        'target': target,
        'runs': runs,
        'summary': summarize(runs, target),
    }
    log(_in_words(report))
    return report


def _run(program: Program, experiment: Experiment, scored: Examples) -> dict[str, Any]:
    """A run from its initial weights to its end, which is scored."""
    state = jax.block_until_ready(experiment.create_state())
    started = time.perf_counter()
    state = _train(program, experiment, state, experiment.config.num_epochs)
    seconds = time.perf_counter() - started
    seed = experiment.config.seed
    if step := int(state.bad_step):
        raise DivergenceError(
            f'training of seed {seed} diverged: the loss, a gradient or a parameter is '
            f'not finite at step {step}; try a lower --config.optimizer.learning_rate'
        )
    accuracy = _accuracy(program, state, scored)
    log(f'seed {seed}: {seconds:.3f} s, accuracy {accuracy:.4f}')
    return {'seed': seed, 'seconds': seconds, 'accuracy': accuracy}


def _train(
    program: Program, experiment: Experiment, state: TrainState, num_epochs: int
) -> TrainState:
    """Trains for some epochs, and waits for the end."""
    steps = experiment.steps_per_epoch
    pending: collections.deque = collections.deque()
    for epoch in range(num_epochs):
        state = program.begin_epoch(state, num_runs=1)
        inputs, done = program.inputs([experiment], epoch), 0
        while done < steps:
            num_steps = min(experiment.steps_per_call, steps - done)
            call, _ = program.call(num_steps, state, inputs)
            state, progress = call(state, *inputs)
            done += num_steps
            pending.append(progress)
            if len(pending) > _CALLS_AHEAD:
                jax.block_until_ready(pending.popleft())
    return jax.block_until_ready(state)


def _accuracy(program: Program, state: TrainState, scored: Examples) -> float:
    """A fraction of the examples, by a single look at each."""
    variables = state.scored
    said = program.predict(variables['params'], variables['batch_stats'], scored)
    return loss_and_accuracy(said, jax.device_get(scored.labels))['accuracy']


def summarize(runs: Sequence[Mapping[str, Any]], target: float) -> dict[str, Any]:
    """Means and standard deviations (n - 1), and how many runs reach a target.

    Args:
      runs: `seconds` and `accuracy` of each.
      target: an accuracy.

    Returns:
      `seconds` and `accuracy`, each with `mean` and `std` (None of a single run);
      `share_at_target`, of the runs that reach it; and whether the mean does,
      `mean_reaches_target`.
    """
    summary: dict[str, Any] = {}
    for name in ('seconds', 'accuracy'):
        values = [run[name] for run in runs]
        std = statistics.stdev(values) if len(values) > 1 else None
        summary[name] = {'mean': statistics.mean(values), 'std': std}
    reached = sum(run['accuracy'] >= target for run in runs)
    summary['share_at_target'] = reached / len(runs)
    summary['mean_reaches_target'] = summary['accuracy']['mean'] >= target
    return summary


def _in_words(report: Mapping[str, Any]) -> str:
    runs, summary = report['runs'], report['summary']
    verb = 'reaches' if summary['mean_reaches_target'] else 'does not reach'
    return (
        f'{len(runs)} runs: {spread([run["seconds"] for run in runs], 3)} s of '
        f'training, {report["split"]} accuracy '
        f'{spread([100 * run["accuracy"] for run in runs], 2)} %; the mean {verb} '
        f'{report["target"]:.2%}, {summary["share_at_target"]:.0%} of the runs do'
    )
