"""Some projects' recipes in PyTorch; `frameworks.py` runs them.

Where our figures differ from published ones, either our recipe is another, or one run
is no measure of it. Here S2's and S4's loops are PyTorch's own layers, initialisation,
shuffling and optimizers, without any of this project's; S1's, which is in Keras, has
PyTorch's, and Keras' initialisation and epsilon. Needs the extra `bench`, which has
PyTorch, and for augmented images torchvision 0.28.0.
"""

import dataclasses
import functools
import importlib.metadata
import importlib.util
from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from configs import default
from fmnist_jax.data import load_dataset


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
      with_copies: whether each image is trained on twice, once augmented.
      is_s4: whether it is scored as S4 does: all test images as one batch, in training
        mode, as pixels 0 to 255.
    """

    model: Callable[[], nn.Module]
    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
    batch_size: int
    num_epochs: int
    with_copies: bool = False
    is_s4: bool = False


def _tinyvgg_by_sgd(rate: float, *, with_copies: bool = False) -> Recipe:
    make = functools.partial(torch.optim.SGD, lr=rate)
    return Recipe(_tinyvgg, make, 32, 3, with_copies=with_copies)


def _bn_cnn_by_adam(batch_size: int, rate: float) -> Recipe:
    make = functools.partial(torch.optim.Adam, lr=rate)
    return Recipe(_bn_cnn, make, batch_size, 25, is_s4=True)


# By the name that recipes/ has for them.
ROWS = MappingProxyType(
    {
        'keras_tinyvgg': Recipe(
            _keras_tinyvgg, functools.partial(torch.optim.Adam, eps=1e-7), 32, 25
        ),
        'tinyvgg_sgd': _tinyvgg_by_sgd(0.1),
        'tinyvgg_sgd-lr_0.05': _tinyvgg_by_sgd(0.05),
        'tinyvgg_sgd-original_and_augmented': _tinyvgg_by_sgd(0.1, with_copies=True),
        'bn_cnn-100-0.001': _bn_cnn_by_adam(100, 0.001),
        'bn_cnn-500-0.001': _bn_cnn_by_adam(500, 0.001),
        'bn_cnn-1000-0.01': _bn_cnn_by_adam(1000, 0.01),
    }
)

# What a row needs besides PyTorch.
NEEDS = MappingProxyType(
    {name: 'torchvision' for name, row in ROWS.items() if row.with_copies}
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
    torch.manual_seed(seed)
    dataset = load_dataset(default.get_config().data)
    images, labels = _tensors(*dataset.split(train_split))
    test = _tensors(*dataset.split('test'))
    model = recipe.model()
    optimizer = recipe.optimizer(model.parameters())
    score = _score_as_s4 if recipe.is_s4 else _score
    epochs = []
    augment = _make_rand_augment() if recipe.with_copies else None
    for _ in range(num_epochs or recipe.num_epochs):
        pixels, classes = _with_copies(images, labels, augment)
        total, correct = 0.0, 0
        for batch in torch.randperm(len(classes)).split(recipe.batch_size):
            logits = model(pixels[batch] / 255)
            loss = nn.functional.cross_entropy(logits, classes[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
            correct += int((logits.argmax(1) == classes[batch]).sum())
        epochs.append(
            {
                'train_loss': total / len(classes),
                'train_accuracy': 100 * correct / len(classes),
                **score(model, *test),
            }
        )
    return epochs


def _with_copies(
    images: torch.Tensor,
    labels: torch.Tensor,
    augment: Callable[[torch.Tensor], torch.Tensor] | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Each image as it is, and if there is an augmentation, once changed anew."""
    if augment is None:
        return images, labels
    changed = torch.stack([augment(image) for image in images.byte()])
    return torch.cat([images, changed]), torch.cat([labels, labels])


def _make_rand_augment() -> Callable[[torch.Tensor], torch.Tensor]:
    """S2's, of a Pillow image; a function of an image, uint8 [1, height, width]."""
    from torchvision.transforms import (  # noqa: PLC0415 - for this recipe alone
        Compose,
        PILToTensor,
        RandAugment,
        ToPILImage,
    )

    return Compose([ToPILImage(), RandAugment(num_ops=2), PILToTensor()])


def _tensors(images: Any, labels: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels as floats, 0 to 255, [n, 1, height, width]; classes [n]."""
    pixels = torch.from_numpy(images.copy()).permute(0, 3, 1, 2).float()
    return pixels, torch.from_numpy(labels.astype('int64'))


@torch.no_grad()
def _score(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor
) -> dict[str, float]:
    return _figures(model(images / 255), labels)


@torch.no_grad()
def _score_as_s4(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor
) -> dict[str, float]:
    # BatchNorm's running averages change, which S4 never reads.
    return _figures(model(images), labels)


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
