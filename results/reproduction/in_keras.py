"""Recipes of S1 and S3 in Keras; `frameworks.py` runs them.

As in_pytorch.py has S2's and S4's: their layers, initialisation, optimizer and
`fit` are Keras', and so are the images that S3 altered, without any of this project's.
NumPy shuffles: with a seed, Keras 3 gives `fit` the same order in every epoch. Needs,
in an environment of its own:

    pip install -c constraints.txt -e .[test]
    pip install keras==3.15.1 tensorflow-cpu==2.21.0

There, `python -m pytest --slow tests/test_in_keras.py` checks it.
"""

import dataclasses
from collections.abc import Callable, Sequence
from types import MappingProxyType

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from configs import default
from fmnist_jax.data import load_dataset

# Images, floats from 0 to 1, [n, height, width, 1], and classes [n].
Split = tuple[np.ndarray, np.ndarray]


def _keras_tinyvgg() -> Sequence[layers.Layer]:
    return (
        layers.Conv2D(32, 3, activation='relu'),
        layers.MaxPool2D(),
        layers.Conv2D(32, 3, activation='relu'),
        layers.MaxPool2D(),
        layers.Conv2D(32, 3, activation='relu'),
        layers.Flatten(),
        layers.Dense(10, activation='softmax'),
    )


def _arch1() -> Sequence[layers.Layer]:
    def block(features: int) -> list[layers.Layer]:
        return [
            layers.Conv2D(features, 3),
            layers.BatchNormalization(),
            layers.Activation('relu'),
            layers.MaxPool2D(),
            layers.Dropout(0.25),
        ]

    return (
        layers.Conv2D(16, 3, padding='same', activation='relu'),
        *block(32),
        *block(64),
        layers.Flatten(),
        layers.Dense(512, activation='relu'),
        layers.Dropout(0.5),
        layers.Dense(10, activation='softmax'),
    )


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a model is trained, by Adam as Keras has it.

    Attributes:
      layers: makes them.
      batch_size: images an update.
      num_epochs: of the training images.
      has_validation: whether a fifth of the images is for validation.
      copies: altered ones of each image, which are divided with them.
    """

    layers: Callable[[], Sequence[layers.Layer]]
    batch_size: int
    num_epochs: int
    has_validation: bool = False
    copies: int = 0


# By the name that recipes/ has for them.
ROWS = MappingProxyType(
    {
        'keras_tinyvgg': Recipe(_keras_tinyvgg, 32, 25),
        'keras_cnns-arch1': Recipe(_arch1, 250, 10, has_validation=True),
        'keras_cnns-arch1_leaking': Recipe(
            _arch1, 250, 10, has_validation=True, copies=2
        ),
    }
)

# What a row needs besides Keras.
NEEDS = MappingProxyType({})
# S1 seeds TensorFlow alone, and S3 only its split: not all that is drawn.
OWN_SEEDS = MappingProxyType({})


def train(
    row: str, seed: int, train_split: str = 'train', num_epochs: int | None = None
) -> list[dict[str, float]]:
    """Trains a recipe; a dictionary an epoch, see frameworks.py.

    Args:
      row: one of `ROWS`.
      seed: of Keras' and NumPy's random numbers.
      train_split: for trials, less than the recipe's.
      num_epochs: likewise.
    """
    recipe = ROWS[row]
    keras.utils.set_random_seed(seed)
    dataset = load_dataset(default.get_config().data)
    training, test = (_pixels(*dataset.split(x)) for x in (train_split, 'test'))
    validation = None
    if recipe.has_validation:
        training, validation = _divide(*_with_copies(*training, recipe.copies))
    model = keras.Sequential([keras.Input((28, 28, 1)), *recipe.layers()])
    model.compile('adam', 'sparse_categorical_crossentropy', metrics=['accuracy'])
    epochs = []
    for _ in range(num_epochs or recipe.num_epochs):
        order = np.random.permutation(len(training[1]))
        history = model.fit(
            *(x[order] for x in training),
            batch_size=recipe.batch_size,
            shuffle=False,
            verbose=0,
        ).history
        figures = _named('train', history['loss'][0], history['accuracy'][0])
        if validation:
            figures |= _named('validation', *model.evaluate(*validation, verbose=0))
        epochs.append(figures | _named('test', *model.evaluate(*test, verbose=0)))
    return epochs


def _pixels(images: np.ndarray, labels: np.ndarray) -> Split:
    return np.float32(images) / 255, np.int32(labels)


def _with_copies(images: np.ndarray, labels: np.ndarray, copies: int) -> Split:
    """All images as they are, and so many copies of each, altered as S3 does."""
    generator = tf.keras.preprocessing.image.ImageDataGenerator(
        rotation_range=10, horizontal_flip=True, fill_mode='nearest'
    )
    altered = [
        np.stack([generator.random_transform(image) for image in images])
        for _ in range(copies)
    ]
    return np.concatenate([images, *altered]), np.tile(labels, copies + 1)


def _divide(images: np.ndarray, labels: np.ndarray) -> tuple[Split, Split]:
    """Four fifths to train on, and the rest, in any order, other ones for each seed."""
    order = np.random.permutation(len(labels))
    first, rest = np.split(order, [len(labels) * 4 // 5])
    return (images[first], labels[first]), (images[rest], labels[rest])


def _named(split: str, loss: float, accuracy: float) -> dict[str, float]:
    return {f'{split}_loss': loss, f'{split}_accuracy': 100 * accuracy}


def versions() -> dict[str, str]:
    """Of the packages that figures may depend on."""
    return {package.__name__: package.__version__ for package in (keras, tf, np)}
