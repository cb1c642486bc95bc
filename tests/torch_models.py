"""The residual networks in PyTorch, with a Flax model's numbers."""

import numpy as np
import torch
from torch.nn import functional


class Block:
    """A module's arrays by Flax's names, as PyTorch's functions take them."""

    def __init__(self, variables: dict, path: tuple[str, ...], train: bool):
        self.params, self.stats = variables['params'], variables['batch_stats']
        for name in path:
            self.params, self.stats = self.params[name], self.stats.get(name, {})
        self.train, self.means = train, {}

    def tensor(self, layer: str, array: str) -> torch.Tensor:
        return torch.from_numpy(np.array(self.params[layer][array], np.float64))

    def conv(self, x: torch.Tensor, number: int, stride: int = 1) -> torch.Tensor:
        weight = self.tensor(f'Conv_{number}', 'kernel').permute(3, 2, 0, 1)
        padding = weight.shape[-1] // 2
        return functional.conv2d(x, weight, stride=stride, padding=padding)

    def norm(self, x: torch.Tensor, number: int) -> torch.Tensor:
        name = f'BatchNorm_{number}'
        mean, var = (
            torch.from_numpy(np.array(self.stats[name][key], np.float64))
            for key in ('mean', 'var')
        )
        weights = (self.tensor(name, 'scale'), self.tensor(name, 'bias'))
        x = functional.batch_norm(x, mean, var, *weights, self.train, 0.1, 1e-5)
        # PyTorch has changed it, where it trains.
        self.means[name] = mean.numpy()
        return x

    def dense(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.tensor('Dense_0', 'kernel') + self.tensor('Dense_0', 'bias')


def resnet(variables: dict, images: np.ndarray, *, train: bool, shortcut: str):
    """Logits, and the running mean of the stem's BatchNorm."""
    top = Block(variables, (), train)
    x = torch.from_numpy(np.array(images, np.float64)).permute(0, 3, 1, 2)
    x = torch.relu(top.norm(top.conv(x, 0), 0))
    count = sum(name.startswith('BasicBlock') for name in variables['params'])
    for i in range(count):
        block = Block(variables, (f'BasicBlock_{i}',), train)
        stride = 2 if i in (count // 3, 2 * count // 3) else 1
        y = torch.relu(block.norm(block.conv(x, 0, stride), 0))
        y = block.norm(block.conv(y, 1), 1)
        if stride == 2 and shortcut == 'projection':
            x = block.norm(block.conv(x, 2, stride), 2)
        elif stride == 2:
            x = functional.avg_pool2d(x, 1, stride)
            x = torch.cat([x, torch.zeros_like(x)], 1)
        x = torch.relu(x + y)
    return top.dense(x.mean((2, 3))).numpy(), top.means['BatchNorm_0']


def wide_resnet(variables: dict, images: np.ndarray, *, train: bool):
    """Logits, and the running mean of the last BatchNorm."""
    top = Block(variables, (), train)
    x = torch.from_numpy(np.array(images, np.float64)).permute(0, 3, 1, 2)
    x = top.conv(x, 0)
    names = [n for n in variables['params'] if n.startswith('PreActivationBlock')]
    for i in range(len(names)):
        block = Block(variables, (f'PreActivationBlock_{i}',), train)
        first = i % (len(names) // 3) == 0
        stride = 2 if first and i > 0 else 1
        y = torch.relu(block.norm(x, 0))
        if first:
            x = block.conv(y, 0, stride)
        y = block.conv(y, int(first), stride)
        y = torch.relu(block.norm(y, 1))
        x = x + block.conv(y, int(first) + 1)
    x = torch.relu(top.norm(x, 0)).mean((2, 3))
    return top.dense(x).numpy(), top.means['BatchNorm_0']
