"""The picture that `show_data` draws of augmentation, against what training does."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from configs import default
from fmnist_jax.data import Dataset
from fmnist_jax.data.augmentation import make_augmentation
from fmnist_jax.data.augmentation.preview import draw_examples
from fmnist_jax.data.batches import Examples, example_keys
from fmnist_jax.data.show import show_data
from fmnist_jax.reporting.figures import style
from fmnist_jax.reporting.figures.augmentation import Drawn, augmentation_figure
from tests.augmenting import colour
from tests.showing import enlarged


def changed_tiles(png: bytes) -> np.ndarray:
    """The images of `augmentation.png`, [rows, columns, 84, 84, 3], cut out of it."""
    picture = np.asarray(Image.open(io.BytesIO(png)).convert('RGB'))
    step = 84 + 8 + 2 * 14  # Two lines of caption.
    rows = [picture[y : y + 84] for y in range(90, 90 + 12 * step, step)]
    first = 16 + 150
    return np.array(
        [[r[:, x : x + 84] for x in range(first, first + 7 * 92, 92)] for r in rows]
    )


def as_in_training(
    config: ConfigDict, dataset: Dataset, indices: np.ndarray, steps: int
) -> list[np.ndarray]:
    """What the first places of the first batches would be, if they had these."""
    images, labels = dataset.split(config.data.train_split)
    examples = Examples(jnp.asarray(images), jnp.asarray(labels, jnp.int32))
    places = jnp.arange(len(indices), dtype=jnp.int32)
    augment = jax.jit(make_augmentation(config.augmentation, dataset.num_classes))
    changed = []
    for step in range(steps):
        keys = example_keys(jnp.uint32(config.seed), jnp.int32(step), places)
        changed.append(augment(keys, examples, jnp.asarray(indices, jnp.int32))[0])
    return changed


def test_picture_of_augmentation(dataset, data_dir, tmp_path, capsys):
    config = default.get_config()
    config.data.data_dir = data_dir
    config.data.train_split = 'train[:2000]'
    config.seed = 5
    config.augmentation = ({'name': 'rotate'}, {'name': 'cutmix', 'alpha': 0.5})
    show_data(config, tmp_path)
    assert f'{tmp_path}/augmentation.png' in capsys.readouterr().out
    images, labels = dataset.split('train[:2000]')
    # Two of the first two classes, one of each other.
    counts = [2, 2, *[1] * 8]
    chosen = np.concatenate(
        [np.flatnonzero(labels == i)[:n] for i, n in enumerate(counts)]
    )
    expected = [images[chosen], *as_in_training(config, dataset, chosen, 6)]
    found = changed_tiles((tmp_path / 'augmentation.png').read_bytes())
    for column, shown in enumerate(expected):
        for row, image in enumerate(shown):
            np.testing.assert_array_equal(found[row, column], enlarged(image, 3))


def test_picture_of_augmentation_tells_classes_and_shares(dataset, data_dir):
    config = default.get_config()
    config.data.data_dir = data_dir
    config.augmentation = ({'name': 'mixup', 'alpha': 1},)
    drawn = draw_examples(config, dataset, count=3, draws=2)
    figure = augmentation_figure(drawn, dataset.class_names, title='a title')
    written = [text.get_text() for text in figure.axes[0].texts]
    assert written[:3] == ['a title', 'original', 'changed']
    assert [x for x in written if x in dataset.class_names] == [
        'T-shirt/top',
        'Trouser',
        'Pullover',
    ]
    captions = [x for x in written if '%' in x]
    for caption, shares in zip(
        captions, drawn.shares.swapaxes(0, 1).reshape(6, 10), strict=True
    ):
        largest = np.argsort(-shares)
        first, *rest = caption.splitlines()
        assert (
            first
            == f'{100 * shares[largest[0]]:.0f} % ' + (dataset.class_names[largest[0]])
        )
        assert len(rest) == (shares >= 0.005).sum() - 1


def test_colour_images_of_another_shape_are_drawn_as_they_are(dataset):
    images = colour(dataset.split('train[:2]')[0])[:, 4:24, 2:26]
    drawn = Drawn(images, np.array([9, 0]), images[None, ::-1], None)
    figure = augmentation_figure(drawn, dataset.class_names, title='')
    png = style.to_png(figure)
    assert png == style.to_png(
        augmentation_figure(drawn, dataset.class_names, title='')
    )
    picture = np.asarray(Image.open(io.BytesIO(png)).convert('RGB'))
    # Three times their size: 60 x 72.
    for row, (first, second) in enumerate(zip(images, images[::-1], strict=True)):
        shown = picture[90 + 68 * row :][:60]
        np.testing.assert_array_equal(shown[:, 166:238], enlarged(first, 3))
        np.testing.assert_array_equal(shown[:, 246:318], enlarged(second, 3))


@pytest.mark.parametrize('shape', [(2, 300, 200, 1), (2, 5, 200, 3), (2, 84, 84, 1)])
def test_large_images_are_reduced(shape):
    images = np.full(shape, 200, np.uint8)
    changed = np.zeros((3, *shape), np.uint8)
    drawn = Drawn(images, np.array([0, 1]), changed, None)
    figure = augmentation_figure(drawn, ('$5', 'b' * 50), title='t ' * 200)
    png = style.to_png(figure)
    picture = np.asarray(Image.open(io.BytesIO(png)).convert('RGB'))
    assert picture.shape[1] <= 16 + 150 + 4 * 92 + 16
    assert (picture == 200).all(-1).sum() > 100
