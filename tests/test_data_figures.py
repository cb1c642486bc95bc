"""Figures of data: samples by their pixels, names of classes, and their counts."""

import io

import numpy as np
import pytest
from PIL import Image

from fmnist_jax.reporting.figures import style
from fmnist_jax.reporting.figures.class_counts import class_counts_figure
from fmnist_jax.reporting.figures.samples import samples_figure
from tests.showing import texts, tiles


def test_grey_is_drawn_on_its_own_scale():
    images = np.array([100, 101, 0, 255], np.uint8).reshape(4, 1, 1, 1)
    images = np.broadcast_to(images, (4, 8, 8, 1))
    figure = samples_figure(images, np.array([0, 0, 1, 1]), ('a', 'b'))
    found = tiles(figure, style.to_png(figure))
    assert [np.unique(tile).tolist() for tile in found] == [[100], [101], [0], [255]]


def test_class_without_images_has_an_empty_row():
    images = np.full((3, 8, 8, 1), 7, np.uint8)
    figure = samples_figure(images, np.array([0, 2, 2]), ('a', 'b', 'c', 'd'), 1)
    assert texts(figure) == ['a\n1 image', 'b\nno image', 'c\n2 images', 'd\nno image']
    assert len(figure.axes[0].images) == 2
    assert figure.axes[0].get_title('left') == 'First image of each class'


def test_no_image_at_all_is_no_error():
    images, labels = np.zeros((0, 8, 8, 3), np.uint8), np.zeros(0, np.int64)
    figure = samples_figure(images, labels, ('a', 'b'))
    assert texts(figure) == ['a\nno image', 'b\nno image']
    style.to_png(figure)


def test_of_many_classes_the_first_are_shown_and_the_figures_say_so():
    labels = np.arange(10_000)
    images = np.zeros((10_000, 4, 4, 1), np.uint8)
    names = tuple(map(str, labels))
    figure = samples_figure(images, labels, names, title='mine')
    assert len(figure.axes[0].images) == len(texts(figure)) == 100
    title = ' '.join(figure.axes[0].get_title('left').split())
    assert (
        title == 'mine: the first 10 images of each of the first 100 of 10,000 classes'
    )
    counts = class_counts_figure({'train': np.bincount(labels)}, names)
    assert len(counts.axes[0].patches) == 100
    assert counts.get_suptitle() == 'The first 100 of 10,000 classes'
    for drawn in (figure, counts):
        width, height = Image.open(io.BytesIO(style.to_png(drawn))).size
        assert width < 2000
        assert height < 12_000


@pytest.mark.parametrize(
    ('size', 'shown_size'),
    [
        # Enlarged by whole numbers, or shrunk, in proportion.
        ((1, 1), (96, 96)),
        ((32, 32), (96, 96)),
        ((64, 48), (128, 96)),
        ((96, 200), (96, 200)),
        ((600, 400), (144, 96)),
        ((30, 600), (15, 300)),
    ],
)
@pytest.mark.parametrize('channels', [1, 3])
def test_images_of_any_size_are_shown_in_proportion(real, size, shown_size, channels):
    pillow = Image.fromarray(real['train_images'][1]).resize(size[::-1])
    image = np.asarray(pillow)[..., None].repeat(channels, -1)
    figure = samples_figure(image[None], np.array([0]), ('a',))
    (tile,) = tiles(figure, style.to_png(figure))
    assert tile.shape[:2] == shown_size
    expected = pillow.convert('RGB').resize(shown_size[::-1], Image.Resampling.BOX)
    assert abs(tile.mean() - np.asarray(expected).mean()) < 1
    difference = np.abs(tile.astype(float) - np.asarray(expected))
    assert difference.mean() < 8


@pytest.mark.parametrize(
    'name',
    ['W' * 60, 'a quite long name of a class ' * 4, '$x$ and $', 'x_1^2', '<b>&amp;'],
)
def test_names_are_drawn_whole_or_shortened(name):
    images = np.zeros((2, 28, 28, 1), np.uint8)
    figure = samples_figure(images, np.array([0, 0]), (name, 'b'), title='t' * 200)
    *lines, count = texts(figure)[0].split('\n')
    assert count == '2 images'
    start = ' '.join(lines) if ' ' in name else ''.join(lines)
    assert name.startswith(start.removesuffix('…'))
    assert start == name or start.endswith('…')
    # Nothing is cut off at an edge: the picture ends white.
    picture = np.asarray(Image.open(io.BytesIO(style.to_png(figure))).convert('L'))
    for edge in (picture[:5], picture[-5:], picture[:, :5], picture[:, -5:]):
        assert edge.min() == 255
    # Two rows' texts do not meet.
    upper, lower = figure.axes[0].get_yticklabels()
    assert upper.get_window_extent().y0 >= lower.get_window_extent().y1
    style.to_png(class_counts_figure({'train': np.array([2, 0])}, (name, 'b')))


def test_bars_are_the_counts_of_each_split():
    counts = {'train': np.array([5, 0, 7]), 'test': np.array([0, 0, 0])}
    figure = class_counts_figure(counts, ('a', 'b', 'c'))
    style.to_png(figure)
    for panel, (split, numbers) in zip(figure.axes, counts.items(), strict=True):
        assert [bar.get_width() for bar in panel.patches] == numbers.tolist()
        assert [t.get_text() for t in panel.texts] == [str(n) for n in numbers]
        assert panel.get_title() == f'{split} ({numbers.sum()})'
    # The first class is on top.
    bottom, top = figure.axes[0].get_ylim()
    assert bottom > top
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ['a', 'b', 'c']
