"""Keras 3 on TensorFlow: `fit` on arrays in memory, everything at its default.

Needs neither JAX nor the rest of this project's packages. What favours it: pixels are
float32 and in the order of the batches before the clock starts, and the clock runs
from the beginning of `fit`'s epoch to its end, not while it sets up its data.
"""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from benchmarks import workloads
from benchmarks.start import Start
from benchmarks.workloads import Layer, Optimizer, Workload, with_names


class Fit:
    """`keras.Model.fit`."""

    def __init__(self, workload: Workload, folder: Path, threads: int):
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        start = Start.read(folder)
        self._workload = workload
        self._weights = start.weights
        examples = start.order.reshape(-1)
        self._images = start.pixels[examples]
        self._labels = start.labels[examples]
        self._model: keras.Model | None = None

    def versions(self) -> dict[str, str]:
        """Those of both packages."""
        return {'keras': keras.__version__, 'tensorflow': tf.__version__}

    def losses(self, steps: int) -> list[float]:
        """See `Competitor`."""
        record = _LossOfEachBatch()
        model = self._make_model(self._workload.compared_optimizer, dropout=False)
        self._fit(model, steps, record)
        return record.losses

    def time(self, steps: int) -> tuple[int, float]:
        """See `Competitor`."""
        self._model = self._model or self._make_model(
            self._workload.optimizer, dropout=True
        )
        clock = _Clock()
        self._fit(self._model, steps, clock)
        return steps, clock.seconds

    def _make_model(self, optimizer: Optimizer, *, dropout: bool) -> keras.Model:
        image_shape = self._images.shape[1:]
        model = build_model(
            self._workload.layers, self._weights, image_shape, dropout=dropout
        )
        model.compile(
            optimizer=_make_optimizer(optimizer),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        return model

    def _fit(
        self, model: keras.Model, steps: int, callback: keras.callbacks.Callback
    ) -> None:
        count = steps * self._workload.batch_size
        model.fit(
            self._images[:count],
            self._labels[:count],
            batch_size=self._workload.batch_size,
            shuffle=False,
            verbose=0,
            callbacks=[callback],
        )


class _LossOfEachBatch(keras.callbacks.Callback):
    """Keras tells the mean since the metrics were last reset."""

    def __init__(self):
        super().__init__()
        self.losses: list[float] = []

    def on_train_batch_begin(self, batch, logs=None):
        self.model.reset_metrics()

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(float(logs['loss']))


class _Clock(keras.callbacks.Callback):
    """Seconds of an epoch."""

    def __init__(self):
        super().__init__()
        self.seconds = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self.seconds = -time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds += time.perf_counter()


def build_model(
    layers: Iterable[Layer],
    weights: Mapping[str, Mapping[str, np.ndarray]],
    image_shape: tuple[int, int, int],
    *,
    dropout: bool,
) -> keras.Model:
    """Makes a model that computes what Flax's does; kernels have the same layouts.

    Args:
      layers: in order.
      weights: each layer's arrays under Flax's names.
      image_shape: height, width, channels.
      dropout: whether to drop anything.
    """
    model = keras.Sequential([keras.Input(image_shape)])
    for name, layer in with_names(layers):
        arrays = weights.get(name, {})
        match layer:
            case workloads.Conv(padding):
                *size, _, features = arrays['kernel'].shape
                made = keras.layers.Conv2D(features, size, padding=padding)
            case workloads.Dense():
                made = keras.layers.Dense(len(arrays['bias']))
            case workloads.BatchNorm(momentum, epsilon):
                made = keras.layers.BatchNormalization(-1, momentum, epsilon)
                arrays = {'gamma': arrays['scale'], 'beta': arrays['bias']}
            case workloads.Relu():
                made = keras.layers.ReLU()
            case workloads.MaxPool():
                made = keras.layers.MaxPooling2D(2)
            case workloads.Dropout(rate):
                made = keras.layers.Dropout(rate if dropout else 0.0)
            case workloads.Flatten():
                made = keras.layers.Flatten()
        model.add(made)  # Makes its variables.
        for key, array in arrays.items():
            getattr(made, key).assign(array)
    return model


def _make_optimizer(optimizer: Optimizer) -> keras.Optimizer:
    match optimizer.name:
        case 'sgd':
            return keras.optimizers.SGD(optimizer.learning_rate)
        case 'adam':
            return keras.optimizers.Adam(
                optimizer.learning_rate, beta_1=0.9, beta_2=0.999, epsilon=optimizer.eps
            )
        case name:
            raise ValueError(f'no optimizer {name!r}')
