"""PyTorch: eager, with channels last, and compiled.

Each in the form that favours it: float32 pixels made before the clock starts, gathered
batch by batch from one tensor; the fused optimizers; cross-entropy inside what is
compiled.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks import workloads
from benchmarks.start import Start
from benchmarks.workloads import Layer, Optimizer, Workload, with_names

Arrays = Mapping[str, np.ndarray]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Eager:
    """As most PyTorch is written."""

    memory_format = torch.contiguous_format

    def __init__(self, workload: Workload, folder: Path, threads: int):
        torch.set_num_threads(threads)
        torch.set_num_interop_threads(threads)
        start = Start.read(folder)
        self._workload = workload
        self._weights = start.weights
        self._images = lay_out(start.pixels, self.memory_format)
        self._labels = torch.from_numpy(start.labels)
        self._order = torch.from_numpy(start.order)
        self._step: Callable[[torch.Tensor], torch.Tensor] | None = None

    def versions(self) -> dict[str, str]:
        """PyTorch's."""
        return {'torch': torch.__version__}

    def losses(self, steps: int) -> list[float]:
        """See `Competitor`."""
        step = self._make_step(self._workload.compared_optimizer, dropout=False)
        return [step(indices).item() for indices in self._order[:steps]]

    def time(self, steps: int) -> tuple[int, float]:
        """See `Competitor`."""
        self._step = self._step or self._make_step(
            self._workload.optimizer, dropout=True
        )
        started = time.perf_counter()
        for indices in self._order[:steps]:
            self._step(indices)
        return steps, time.perf_counter() - started

    def _make_step(
        self, optimizer: Optimizer, *, dropout: bool
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """A function of a batch's indices that trains a new model by a step."""
        channels = self._images.shape[1]
        model = build_model(
            self._workload.layers, self._weights, channels, dropout=dropout
        ).to(memory_format=self.memory_format)
        update = _make_optimizer(model, optimizer)
        loss_function = self._wrap(
            lambda images, labels: nn.functional.cross_entropy(model(images), labels)
        )

        def step(indices: torch.Tensor) -> torch.Tensor:
            update.zero_grad()
            loss = loss_function(self._images[indices], self._labels[indices])
            loss.backward()
            update.step()
            return loss.detach()

        return step

    def _wrap(self, loss_function: Loss) -> Loss:
        return loss_function


class ChannelsLast(Eager):
    """Eager, with images and kernels laid out as [batch, height, width, channels]."""

    memory_format = torch.channels_last


class Compiled(Eager):
    """`torch.compile` of the model with its loss, forward and backward."""

    def _wrap(self, loss_function: Loss) -> Loss:
        torch.compiler.reset()  # Whatever was compiled for the model before.
        return torch.compile(loss_function)


def lay_out(pixels: np.ndarray, memory_format: torch.memory_format) -> torch.Tensor:
    """Images [n, height, width, channels] as PyTorch's [n, channels, height, width].

    Its convolutions follow their images' strides. Those of a single channel fit both
    formats: merely permuted, they would make every model one with channels last.
    """
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    return torch.empty(images.shape, memory_format=memory_format).copy_(images)


def build_model(
    layers: Iterable[Layer],
    weights: Mapping[str, Arrays],
    channels: int,
    *,
    dropout: bool,
) -> nn.Sequential:
    """Makes a model in training mode that computes what Flax's does.

    Args:
      layers: in order.
      weights: each layer's arrays under Flax's names, in Flax's layouts.
      channels: of an image.
      dropout: whether to drop anything.
    """
    modules: list[nn.Module] = []
    batch_norm = nn.BatchNorm2d
    for name, layer in with_names(layers):
        match layer:
            case workloads.Conv(padding):
                modules.append(_conv(weights[name], padding))
                channels = modules[-1].out_channels
            case workloads.Dense():
                modules.append(_dense(weights[name], channels))
                channels = 1
            case workloads.BatchNorm():
                modules.append(_batch_norm(batch_norm, weights[name], layer))
            case workloads.Relu():
                modules.append(nn.ReLU())
            case workloads.MaxPool():
                modules.append(nn.MaxPool2d(2))
            case workloads.Dropout(rate):
                modules.append(nn.Dropout(rate if dropout else 0.0))
            case workloads.Flatten():
                modules.append(nn.Flatten())
                batch_norm = nn.BatchNorm1d
    return nn.Sequential(*modules)


def _conv(arrays: Arrays, padding: str) -> nn.Conv2d:
    # [height, width, in, out] to [out, in, height, width].
    kernel = torch.tensor(arrays['kernel']).permute(3, 2, 0, 1)
    outputs, inputs, *size = kernel.shape
    pads = [side // 2 if padding == 'same' else 0 for side in size]
    module = nn.Conv2d(inputs, outputs, size, padding=pads)
    return _filled(module, weight=kernel, bias=torch.tensor(arrays['bias']))


def _dense(arrays: Arrays, channels: int) -> nn.Linear:
    """A dense layer on features in PyTorch's order, channels before pixels.

    Args:
      arrays: of the layer.
      channels: of the image that its input was flattened from; 1 if there is none.
    """
    inputs, outputs = arrays['kernel'].shape
    # [pixels, channels, out] to [out, channels, pixels].
    kernel = torch.tensor(arrays['kernel']).reshape(-1, channels, outputs)
    kernel = kernel.permute(2, 1, 0).reshape(outputs, inputs)
    module = nn.Linear(inputs, outputs)
    return _filled(module, weight=kernel, bias=torch.tensor(arrays['bias']))


def _batch_norm(
    kind: type[nn.Module], arrays: Arrays, layer: workloads.BatchNorm
) -> nn.Module:
    # PyTorch's momentum is the new value's share.
    module = kind(len(arrays['scale']), eps=layer.epsilon, momentum=1 - layer.momentum)
    scale, bias = (torch.tensor(arrays[key]) for key in ('scale', 'bias'))
    return _filled(module, weight=scale, bias=bias)


def _filled(module: nn.Module, **values: torch.Tensor) -> nn.Module:
    with torch.no_grad():
        for name, value in values.items():
            module.get_parameter(name).copy_(value)
    return module


def _make_optimizer(model: nn.Module, optimizer: Optimizer) -> torch.optim.Optimizer:
    parameters, rate = model.parameters(), optimizer.learning_rate
    match optimizer.name:
        case 'sgd':
            return torch.optim.SGD(parameters, lr=rate, fused=True)
        case 'adam':
            return torch.optim.Adam(
                parameters, lr=rate, betas=(0.9, 0.999), eps=optimizer.eps, fused=True
            )
        case name:
            raise ValueError(f'no optimizer {name!r}')
