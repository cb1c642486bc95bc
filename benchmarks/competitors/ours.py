"""This project: the step that `fmnist_jax.main` runs, called as its loop calls it."""

import collections
import importlib.metadata
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from benchmarks.start import Start
from benchmarks.work import training_flops
from benchmarks.workloads import Workload
from configs import default
from fmnist_jax.data.batches import Examples
from fmnist_jax.models import create_model
from fmnist_jax.training.build import build_experiment
from fmnist_jax.training.configure import configure_jax
from fmnist_jax.training.hyperparameters import Hyperparameters
from fmnist_jax.training.state import EpochSums, TrainState

# As the training loop does, so many calls are handed over before a result is awaited.
_CALLS_AHEAD = 2


def make_config(workload: Workload) -> ConfigDict:
    """The config under which `main` would train the workload."""
    config = default.get_config()
    config.model.name = workload.model
    config.batch_size = workload.batch_size
    config.optimizer.name = workload.optimizer.name
    config.optimizer.learning_rate = workload.optimizer.learning_rate
    config.optimizer.eps = workload.optimizer.eps
    return config


class Ours:
    """The reference: the others start from what it writes."""

    def __init__(self, workload: Workload, folder: Path, threads: int):
        del threads  # As many devices as there are cores; see `machine`.
        self._workload = workload
        self._folder = folder
        config = make_config(workload)
        configure_jax(config)
        self._experiment = build_experiment(config)
        self._dataset = self._experiment.dataset
        self._train = self._dataset.split(config.data.train_split)
        self._examples: Examples = self._experiment.place(*self._train)
        self._order = self._experiment.epoch_order(0)
        self._state: TrainState | None = None
        self._call: Callable | None = None

    def versions(self) -> dict[str, str]:
        """JAX's, and those of what else a step is made with."""
        packages = ('jax', 'jaxlib', 'flax', 'optax')
        return {name: importlib.metadata.version(name) for name in packages}

    def write_start(self) -> dict[str, int]:
        """Writes what all start from.

        Returns:
          What else the benchmark wants to know of the model and the data.
        """
        state = jax.device_get(self._experiment.create_state())
        # [devices, steps, local batch]: each device has a slice of each batch.
        order = np.concatenate(list(np.asarray(self._order)), axis=1)
        images, labels = self._train
        Start(
            images=images,
            labels=labels.astype(np.int64),
            order=order.astype(np.int64),
            weights=state.params,
        ).write(self._folder)
        model = create_model(
            self._workload.model, num_classes=self._dataset.num_classes
        )
        return {
            'steps_per_epoch': self._experiment.steps_per_epoch,
            'steps_per_call': self._experiment.steps_per_call,
            'devices': len(self._experiment.group),
            'flops_per_image': training_flops(model, self._dataset.image_shape),
        }

    def losses(self, steps: int) -> list[float]:
        """See `Competitor`."""
        h = jax.device_get(self._experiment.hyperparameters)
        rate = np.asarray(
            self._workload.compared_optimizer.learning_rate, h.learning_rate.dtype
        )
        without = jax.tree.map(np.zeros_like, h.dropout_rate)
        h = h.replace(learning_rate=rate, dropout_rate=without)
        h = self._experiment.group.replicate(h)
        state, losses = self._experiment.create_state(), []
        call = self._compile(1, state, h)
        inputs = self._inputs(h, first_step=0)
        for _ in range(steps):
            state, progress = call(self._with_new_sums(state), *inputs)
            sums = jax.device_get(progress.sums)
            losses.append(float(sums.loss) / int(sums.count))
        return losses

    def time(self, steps: int) -> tuple[int, float]:
        """See `Competitor`."""
        h, num_steps = self._experiment.hyperparameters, self._experiment.steps_per_call
        if self._state is None or self._call is None:
            self._state = self._experiment.create_state()
            self._call = self._compile(num_steps, self._state, h)
        state = self._with_new_sums(self._state)
        inputs = self._inputs(h, first_step=int(state.step))
        pending: collections.deque = collections.deque()
        calls = max(1, steps // num_steps)
        jax.block_until_ready((state, inputs))
        started = time.perf_counter()
        for _ in range(calls):
            state, progress = self._call(state, *inputs)
            pending.append(progress)
            if len(pending) > _CALLS_AHEAD:
                jax.device_get(pending.popleft())
        jax.block_until_ready(state)
        seconds = time.perf_counter() - started
        self._state = state
        return calls * num_steps, seconds

    def _compile(self, num_steps: int, state: TrainState, h: Hyperparameters):
        call = self._experiment.train_call(num_steps)
        return call.lower(state, *self._inputs(h, first_step=0)).compile()

    def _inputs(self, h: Hyperparameters, first_step: int) -> tuple:
        """What a call takes after the state, at the beginning of an epoch."""
        first = self._experiment.group.replicate(np.int32(first_step))
        return h, self._experiment.inputs(self._examples), first, self._order

    def _with_new_sums(self, state: TrainState) -> TrainState:
        zeros = EpochSums.zeros(self._experiment.functions.precision.param)
        return state.replace(sums=self._experiment.group.replicate(zeros))
