"""Some projects' recipes in PyTorch; `frameworks.py` runs them.

Where our figures differ from published ones, either our recipe is another, or one run
is no measure of it. Here S2's and S4's loops are PyTorch's own layers, initialisation,
loaders and optimizers, without any of this project's; S1's, which is in Keras, has
PyTorch's, and Keras' initialisation and epsilon. Numbers are drawn in the order of S2's
notebook, so that its seed draws its initial weights and the order of its images. Needs
the extra `bench`, which has PyTorch, and for augmented images torchvision 0.28.0.
"""

import dataclasses
import functools
import importlib.metadata
import importlib.util
from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, TensorDataset

from configs import default
from fmnist_jax.data import load_dataset

# Images, uint8 [n, 1, height, width], and classes [n].
Split = tuple[torch.Tensor, torch.Tensor]


def _linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


def _tinyvgg() -> nn.Module:
    def block(channels: int) -> list[nn.Module]:
        return [
            nn.Conv2d(channels, 10, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(10, 10, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]

    return nn.Sequential(*block(1), *block(10), nn.Flatten(), nn.Linear(490, 10))


def _bn_cnn() -> nn.Module:
    def block(channels: int, features: int) -> list[nn.Module]:
        conv = nn.Conv2d(channels, features, 5)
        return [conv, nn.BatchNorm2d(features), nn.ReLU(), nn.MaxPool2d(2)]

    dense = [nn.Flatten(), nn.Linear(384, 120), nn.ReLU(), nn.Linear(120, 10)]
    return nn.Sequential(*block(1, 12), *block(12, 24), *dense)


def _keras_tinyvgg() -> nn.Module:
    layers = []
    for channels in (1, 32):
        layers += [nn.Conv2d(channels, 32, 3), nn.ReLU(), nn.MaxPool2d(2)]
    model = nn.Sequential(
        *layers, nn.Conv2d(32, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10)
    )
    for layer in model:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return model


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Attributes:
      model: makes it.
      optimizer: makes one of the model's parameters.
      batch_size: images an update.
      num_epochs: of the training split.
      images: what is trained on: each image as it is, or augmented anew in each epoch,
        or both.
      is_s4: whether it is scored as S4 does: all test images as one batch, in training
        mode, as pixels 0 to 255.
    """

    model: Callable[[], nn.Module]
    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
    batch_size: int
    num_epochs: int
    images: Literal['original', 'augmented', 'both'] = 'original'
    is_s4: bool = False


def _by_sgd(
    model: Callable[[], nn.Module] = _tinyvgg,
    rate: float = 0.1,
    num_epochs: int = 3,
    **fields: Any,
) -> Recipe:
    make = functools.partial(torch.optim.SGD, lr=rate)
    return Recipe(model, make, 32, num_epochs, **fields)


def _bn_cnn_by_adam(batch_size: int, rate: float) -> Recipe:
    make = functools.partial(torch.optim.Adam, lr=rate)
    return Recipe(_bn_cnn, make, batch_size, 25, is_s4=True)


# By the name that recipes/ has for them.
ROWS = MappingProxyType(
    {
        'keras_tinyvgg': Recipe(
            _keras_tinyvgg, functools.partial(torch.optim.Adam, eps=1e-7), 32, 25
        ),
        'linear': _by_sgd(_linear),
        'tinyvgg_sgd': _by_sgd(),
        'tinyvgg_sgd-rand_augment': _by_sgd(images='augmented'),
        'tinyvgg_sgd-original_and_augmented': _by_sgd(images='both'),
        'tinyvgg_sgd-5_epochs': _by_sgd(num_epochs=5),
        'tinyvgg_sgd-lr_0.2': _by_sgd(rate=0.2),
        'tinyvgg_sgd-lr_0.05': _by_sgd(rate=0.05),
        'bn_cnn-100-0.001': _bn_cnn_by_adam(100, 0.001),
        'bn_cnn-500-0.001': _bn_cnn_by_adam(500, 0.001),
        'bn_cnn-1000-0.01': _bn_cnn_by_adam(1000, 0.01),
    }
)

# What a row needs besides PyTorch.
NEEDS = MappingProxyType(
    {name: 'torchvision' for name, row in ROWS.items() if row.images != 'original'}
)
# The seed of a project's own runs, by row: S2 has the same for all. It trained on a
# GPU, where the same sums are rounded otherwise.
OWN_SEEDS = MappingProxyType(
    {name: 42 for name in ROWS if name == 'linear' or name.startswith('tinyvgg_sgd')}
)


def train(
    row: str, seed: int, train_split: str = 'train', num_epochs: int | None = None
) -> list[dict[str, float]]:
    """Trains a recipe; a dictionary an epoch.

    Args:
      row: one of `ROWS`.
      seed: of PyTorch's random numbers.
      train_split: for trials, less than the recipe's.
      num_epochs: likewise.

    Returns:
      Each as frameworks.py has it, over all test images; of S4, as it computed them.
    """
    recipe = ROWS[row]
    dataset = load_dataset(default.get_config().data)
    training, test = (_tensors(*dataset.split(x)) for x in (train_split, 'test'))
    loader = DataLoader(
        _examples(recipe.images, training), recipe.batch_size, shuffle=True
    )
    torch.manual_seed(seed)
    model = recipe.model()
    optimizer = recipe.optimizer(model.parameters())
    # Once more, as in S2's notebook.
    torch.manual_seed(seed)
    score = _score_as_s4 if recipe.is_s4 else _score
    return [
        {**_train_epoch(model, optimizer, loader), **score(model, test)}
        for _ in range(num_epochs or recipe.num_epochs)
    ]


def _train_epoch(
    model: nn.Module, optimizer: torch.optim.Optimizer, loader: DataLoader
) -> dict[str, float]:
    total, correct, count = 0.0, 0, 0
    for images, labels in loader:
        logits = model(images.float() / 255)
        loss = nn.functional.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(labels)
        correct += int((logits.argmax(1) == labels).sum())
        count += len(labels)
    return {'train_loss': total / count, 'train_accuracy': 100 * correct / count}


class _Augmented(Dataset):
    """Examples whose images are changed anew whenever they are read."""

    def __init__(self, split: Split, augment: Callable[[torch.Tensor], torch.Tensor]):
        self._split, self._augment = split, augment

    def __len__(self) -> int:
        return len(self._split[1])

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = self._split
        return self._augment(images[index]), labels[index]


def _examples(which: str, split: Split) -> Dataset:
    """What `Recipe.images` says; of both, the augmented ones first, as S2 has them."""
    original = TensorDataset(*split)
    if which == 'original':
        return original
    augmented = _Augmented(split, _make_rand_augment())
    return augmented if which == 'augmented' else ConcatDataset([augmented, original])


def _make_rand_augment() -> Callable[[torch.Tensor], torch.Tensor]:
    """S2's, of a Pillow image; a function of an image, uint8 [1, height, width]."""
    from torchvision.transforms import (  # noqa: PLC0415 - for these recipes alone
        Compose,
        PILToTensor,
        RandAugment,
        ToPILImage,
    )

    return Compose([ToPILImage(), RandAugment(num_ops=2), PILToTensor()])


def _tensors(images: Any, labels: Any) -> Split:
    pixels = torch.from_numpy(images.copy()).permute(0, 3, 1, 2)
    return pixels, torch.from_numpy(labels.astype('int64'))


@torch.no_grad()
def _score(model: nn.Module, test: Split) -> dict[str, float]:
    # A loader draws a number whenever it is read, though it shuffles nothing.
    loader = DataLoader(TensorDataset(*test), 1000)
    logits = torch.cat([model(images.float() / 255) for images, _ in loader])
    return _figures(logits, test[1])


@torch.no_grad()
def _score_as_s4(model: nn.Module, test: Split) -> dict[str, float]:
    # BatchNorm's running averages change, which S4 never reads.
    return _figures(model(test[0].float()), test[1])


def _figures(logits: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    return {
        'test_loss': nn.functional.cross_entropy(logits, labels).item(),
        'test_accuracy': 100 * (logits.argmax(1) == labels).float().mean().item(),
    }


def versions() -> dict[str, str]:
    """Of the packages that figures may depend on."""
    names = ('torch', 'torchvision', 'numpy')
    found = [name for name in names if importlib.util.find_spec(name)]
    return {name: importlib.metadata.version(name) for name in found}
