"""What `show_data` says and draws of data, against the IDX files and NumPy."""

import copy
import io
import json
import os
import subprocess
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from ml_collections import ConfigDict
from PIL import Image

from configs import default
from fmnist_jax import config as config_lib
from fmnist_jax.data import Dataset, load_dataset
from fmnist_jax.data.show import show_data
from fmnist_jax.data.statistics import pixel_mean_and_std
from fmnist_jax.errors import UserError
from fmnist_jax.reporting.figures import style
from fmnist_jax.reporting.figures.class_counts import class_counts_figure
from fmnist_jax.reporting.figures.samples import samples_figure
from tests import idx_files
from tests.conftest import ROOT, run_script
from tests.test_bad_input import assert_fails

SCRIPT = 'fmnist_jax.show_data'
NAMES = (
    'A T-shirt, or any other top',
    '$5 trouser$',
    'Pullover',
    '<i>Kleid</i>',
    'none',
)


@pytest.fixture(scope='module')
def real() -> dict[str, np.ndarray]:
    return idx_files.parse_real()


@pytest.fixture(scope='module')
def outside(tmp_path_factory) -> Path:
    """A folder of the user's own, who has a folder `configs` too."""
    folder = tmp_path_factory.mktemp('outside')
    for name in ('__init__', 'default'):
        path = folder / 'configs' / f'{name}.py'
        path.parent.mkdir(exist_ok=True)
        path.write_text('raise RuntimeError("not the default config")\n')
    return folder


def run(cwd: Path, *arguments: str) -> subprocess.CompletedProcess:
    return run_script(
        SCRIPT, *arguments, cwd=cwd, env=os.environ | {'PYTHONPATH': str(ROOT)}
    )


@pytest.fixture(scope='module')
def shown(outside, dataset) -> tuple[Path, str]:
    """What the script without arguments leaves and prints."""
    done = run(outside)
    assert (done.returncode, done.stderr) == (0, '')
    return outside / 'runs' / 'data-fashion_mnist', done.stdout


@pytest.fixture(scope='module')
def colour_config(real, tmp_path_factory) -> ConfigDict:
    """Four classes of real images in colour, 20x24x3, and one that has none."""
    folder = tmp_path_factory.mktemp('colour')
    arrays = {}
    for split, count in (('train', 60), ('test', 30)):
        labels = real[f'{split}_labels']
        kept = np.flatnonzero(labels < 4)[:count]
        images = real[f'{split}_images'][kept, 4:24, 2:26]
        arrays[f'{split}_images'] = idx_files.colour(images)
        arrays[f'{split}_labels'] = labels[kept]
    return own_config(folder, arrays, class_names=NAMES)


def own_config(folder: Path, arrays: dict, **fields: object) -> ConfigDict:
    config = default.get_config()
    config.data.update(
        name='mine',
        data_dir=str(folder / 'data'),
        idx_dir=str(idx_files.write_folder(folder / 'idx', arrays)),
        train_split='train[:80%]',
        validation_split='train[80%:]',
        **fields,
    )
    return config


def read_own(config: ConfigDict, key: str) -> np.ndarray:
    """An array of a folder of one's own, from the bytes of its file."""
    content = Path(config.data.idx_dir, idx_files.FILE_NAMES[key]).read_bytes()
    shape = np.frombuffer(content, '>u4', content[3], offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(shape)


def statistics(folder: Path) -> dict:
    return json.loads((folder / 'statistics.json').read_text())


def paste(printed: str, config: ConfigDict) -> None:
    """Carries out the lines that are for a config."""
    lines = [x for x in printed.splitlines() if x.startswith('config.data.')]
    assert [x.split(' = ')[0][-4:].strip('.') for x in lines] == ['mean', 'std']
    for line in lines:
        exec(line, {'config': config})
    config_lib.validate(config)
    load_dataset(config.data, lambda line: None)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_yticklabels()]


def tiles(figure: Figure, png: bytes) -> list[np.ndarray]:
    """What the picture shows of each image, in order: cut out of the pixels."""
    picture = np.asarray(Image.open(io.BytesIO(png)).convert('RGB'))
    zoom = len(picture) / figure.bbox.height
    found = []
    for image in figure.axes[0].images:
        box = image.get_window_extent().get_points() * zoom
        # Whole pixels, or an image would be smeared.
        np.testing.assert_allclose(box, np.rint(box), atol=0.01)
        (left, bottom), (right, top) = np.rint(box).astype(int)
        found.append(picture[len(picture) - top : len(picture) - bottom, left:right])
    return found


def enlarged(image: np.ndarray, factor: int) -> np.ndarray:
    """An image of height, width and channels in RGB, each pixel a block."""
    colour = np.broadcast_to(image, (*image.shape[:2], 3))
    return colour.repeat(factor, 0).repeat(factor, 1)


# The whole script on real Fashion-MNIST.


def test_statistics_of_fashion_mnist(shown, real, dataset):
    written = statistics(shown[0])
    parts = {
        'train': ('train', slice(0, 55_000), 'train[:55000]'),
        'validation': ('train', slice(55_000, None), 'train[55000:]'),
        'test': ('test', slice(None), 'test'),
    }
    assert list(written['splits']) == list(parts)
    for name, (file, part, spec) in parts.items():
        split = written['splits'][name]
        labels, images = (real[f'{file}_{x}'][part] for x in ('labels', 'images'))
        assert split['spec'] == spec
        assert split['num_examples'] == len(labels)
        assert split['class_counts'] == np.bincount(labels).tolist()
        mean = images.mean(dtype=np.float64) / 255
        squares = np.mean([np.square(image / 255).mean() for image in images])
        assert split['mean'] == pytest.approx([mean], rel=1e-12)
        assert split['std'] == pytest.approx([np.sqrt(squares - mean**2)], rel=1e-9)
    counts = [written['splits'][x]['class_counts'] for x in ('train', 'validation')]
    assert np.add(*counts).tolist() == [6000] * 10
    assert written['splits']['test']['class_counts'] == [1000] * 10
    assert written['name'] == 'fashion_mnist'
    assert written['image_shape'] == [28, 28, 1]
    assert written['class_names'] == list(dataset.class_names)
    assert written['sha256'] == dataset.sha256
    assert written['source'] == dataset.source


def test_without_a_config_the_data_are_those_of_the_default_config(shown, data_dir):
    config = default.get_config()
    written = statistics(shown[0])
    assert written['name'] == config.data.name
    for name in config_lib.SPLITS:
        assert written['splits'][name]['spec'] == config.data[f'{name}_split']


def test_what_is_printed_of_fashion_mnist(shown, real):
    folder, printed = shown
    rows = [line.rsplit(maxsplit=3) for line in printed.splitlines()]
    train = real['train_labels']
    for label, name in ((0, 'T-shirt/top'), (6, 'Shirt'), (9, 'Ankle boot')):
        counts = ((train[:55_000] == label).sum(), (train[55_000:] == label).sum())
        assert [name, *(f'{n:,}' for n in counts), '1,000'] in rows
    assert ['all', '55,000', '5,000', '10,000'] in rows
    for name in ('samples.png', 'class_counts.png', 'statistics.json'):
        assert f'runs/data-fashion_mnist/{name}' in printed
        assert (folder / name).exists()
    config = default.get_config()
    paste(printed, config)
    pixels = real['train_images'][:55_000]
    assert config.data.mean == pytest.approx(pixels.mean() / 255, abs=5e-5)
    assert config.data.std == pytest.approx(0.353, abs=2e-4)


def test_picture_shows_the_first_ten_images_of_each_class(shown, real, dataset):
    images, labels = real['train_images'][:55_000], real['train_labels'][:55_000]
    first = [np.flatnonzero(labels == label)[:10] for label in range(10)]
    png = (shown[0] / 'samples.png').read_bytes()
    # Tells where the script drew each image.
    figure = samples_figure(
        images[..., None],
        labels,
        dataset.class_names,
        title='fashion_mnist, train[:55000]',
    )
    found = tiles(figure, png)
    assert len(found) == 100
    for tile, i in zip(found, np.concatenate(first), strict=True):
        np.testing.assert_array_equal(tile, enlarged(images[i][..., None], 3))
    # Rows below one another, in the order of labels.
    boxes = [image.get_window_extent() for image in figure.axes[0].images]
    assert sorted(boxes, key=lambda box: (-box.y0, box.x0)) == boxes
    counts = np.bincount(labels)
    assert texts(figure)[1] == f'Trouser\n{counts[1]:,} images'


def test_config_and_overrides_are_those_of_main(tmp_path, real):
    done = run_script(
        SCRIPT,
        '--config=configs/tinyvgg.py',
        '--config.data.train_split=train[:50]+test[:3]',
        '--config.data.validation_split=test[10:15]',
        f'--output={tmp_path}/some/where',
    )
    assert done.returncode == 0, done
    written = statistics(tmp_path / 'some' / 'where')
    labels = np.concatenate([real['train_labels'][:50], real['test_labels'][:3]])
    train = written['splits']['train']
    assert train['class_counts'] == np.bincount(labels, minlength=10).tolist()
    assert written['splits']['validation']['num_examples'] == 5
    assert written['splits']['test']['num_examples'] == 10_000


# Mean and standard deviation.


def test_mean_and_std_of_fashion_mnist_are_those_in_the_literature(dataset: Dataset):
    (mean,), (std,) = pixel_mean_and_std(dataset.arrays['train_images'])
    assert (round(mean, 4), round(std, 4)) == (0.2860, 0.3530)


@pytest.mark.parametrize(
    'shape', [(1, 1, 1, 1), (3, 5, 4, 3), (2, 1100, 1000, 1), (700, 32, 64, 3)]
)
def test_mean_and_std_are_those_of_numpy(shape):
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    mean, std = pixel_mean_and_std(images)
    scaled = images / 255
    # NumPy rounds on the way.
    np.testing.assert_allclose(mean, scaled.mean((0, 1, 2)), rtol=1e-10)
    np.testing.assert_allclose(std, scaled.std((0, 1, 2)), rtol=1e-10)


@pytest.mark.parametrize('value', [0, 1, 254, 255])
def test_std_of_equal_pixels_is_exactly_0(value):
    images = np.full((5, 9, 9, 1), value, np.uint8)
    assert pixel_mean_and_std(images) == ((value / 255,), (0.0,))


def test_statistics_take_little_memory(dataset: Dataset):
    images = dataset.arrays['train_images']
    tracemalloc.start()
    pixel_mean_and_std(images)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < images.nbytes / 2


# Data of one's own.


def test_own_colour_data(colour_config, tmp_path, capsys):
    config = copy.deepcopy(colour_config)
    # Of other images; `main` would refuse them.
    config.data.update(mean=(0.5, 0.5), std=(0.2, 0.2))
    given = config_lib.to_dict(config)
    written = show_data(config, tmp_path)
    assert config_lib.to_dict(config) == given
    assert statistics(tmp_path) == written

    images, labels = (read_own(config, f'train_{x}') for x in ('images', 'labels'))
    parts = {'train': slice(0, 48), 'validation': slice(48, None)}
    for name, part in parts.items():
        split = written['splits'][name]
        assert split['class_counts'] == np.bincount(labels[part], minlength=5).tolist()
        scaled = images[part] / 255
        np.testing.assert_allclose(split['mean'], scaled.mean((0, 1, 2)), rtol=1e-12)
        np.testing.assert_allclose(split['std'], scaled.std((0, 1, 2)), rtol=1e-12)
    assert written['image_shape'] == [20, 24, 3]
    assert written['class_names'] == list(NAMES)
    assert written['splits']['train']['class_counts'][4] == 0

    printed = capsys.readouterr().out
    assert 'data: 1 of 5 classes have no training image: none' in printed
    paste(printed, config)
    np.testing.assert_allclose(
        config.data.mean, written['splits']['train']['mean'], rtol=1e-3
    )

    figure = samples_figure(images[:48], labels[:48], NAMES, title='mine, train[:80%]')
    found = tiles(figure, (tmp_path / 'samples.png').read_bytes())
    order = [np.flatnonzero(labels[:48] == label)[:10] for label in range(5)]
    for tile, i in zip(found, np.concatenate(order), strict=True):
        np.testing.assert_array_equal(tile, enlarged(images[i], 4))


def test_the_same_data_give_the_same_files(colour_config, tmp_path):
    names = ('samples.png', 'class_counts.png', 'statistics.json')
    contents = []
    for _ in range(2):
        show_data(colour_config, tmp_path)
        contents.append([(tmp_path / name).read_bytes() for name in names])
    assert contents[0] == contents[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_std_of_0_is_not_proposed_for_a_config(tmp_path, capsys):
    images = np.zeros((10, 6, 6, 3), np.uint8)
    images[..., 1] = 255
    images[:4, ..., 2] = 1
    labels = np.zeros(10, np.uint8)
    arrays = dict.fromkeys(('train_images', 'test_images'), images)
    arrays |= dict.fromkeys(('train_labels', 'test_labels'), labels)
    config = own_config(tmp_path, arrays)
    written = show_data(config, tmp_path / 'shown')
    assert written['splits']['train']['std'] == [
        0.0,
        0.0,
        pytest.approx(0.5 / 255),
    ]
    paste(capsys.readouterr().out, config)
    assert config.data.std == (1.0, 1.0, 0.001961)


def test_many_classes_are_counted_and_the_first_printed(real, tmp_path, capsys):
    labels = np.arange(150, dtype=np.int16)
    arrays = {
        'train_images': real['train_images'][:300],
        'train_labels': np.concatenate([labels, labels]),
        'test_images': real['test_images'][:150],
        'test_labels': labels,
    }
    config = own_config(tmp_path, arrays)
    config.data.train_split = 'train[:200]'
    written = show_data(config, tmp_path / 'shown')
    assert written['splits']['train']['class_counts'] == [2] * 50 + [1] * 100
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ['99', '1', '1', '1'] in rows
    assert ['50', 'more', '50', '50', '50'] in rows
    assert not any(row[:1] == ['100'] for row in rows)


# The figures.


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


def test_without_augmentation_there_is_no_picture_of_it(shown):
    assert not (shown[0] / 'augmentation.png').exists()


# Mistakes.


def test_images_that_augmentation_does_not_take(colour_config, tmp_path):
    config = copy.deepcopy(colour_config)
    config.augmentation = ({'name': 'pad_and_crop', 'padding': 20},)
    with pytest.raises(UserError, match=r'less than the sides of the images, .* 20x24'):
        show_data(config, tmp_path / 'shown')
    assert not list(tmp_path.iterdir())


BAD_ARGUMENTS = {
    'no such config': (
        ['--config=configs/none.py'],
        ["No such file or directory: 'configs/none.py'"],
    ),
    'unknown field of the default config': (
        ['--config.data.nam=mine'],
        ['unknown config field', 'Did you mean "name"'],
    ),
    'field of the wrong type': (['--config.data=3'], ['--config.data=3']),
    'unexpected argument': (['runs/mine'], ["unexpected argument 'runs/mine'"]),
    'unknown flag': (['--outptu=x'], ["'outptu'", 'Did you mean: output']),
    'unknown data set': (
        ['--config.data.name=fashon'],
        ["unknown data.name 'fashon'; did you mean 'fashion_mnist'?"],
    ),
    'no such folder of data': (
        ['--config.data.name=mine', '--config.data.idx_dir=absent'],
        ['absent is not a folder'],
    ),
    'no such split': (
        ['--config.data.validation_split=valid[:10]'],
        ["split 'valid[:10]' of fashion_mnist cannot be taken"],
    ),
    'no such augmentation': (
        ["--config.augmentation=({'name': 'rotat'},)"],
        ["unknown augmentation 'rotat'; did you mean 'rotate'?"],
    ),
    'an argument out of range': (
        ["--config.augmentation=({'name': 'rand_augment', 'magnitude': 31},)"],
        ['magnitude must be at most num_bins - 1 = 30, not 31'],
    ),
    'copies that nothing changes': (
        ['--config.augmented_copies=1'],
        ['augmented_copies is 1, but augmentation is empty'],
    ),
}


@pytest.mark.parametrize('case', BAD_ARGUMENTS)
def test_mistake_in_the_arguments(tmp_path, case):
    arguments, parts = BAD_ARGUMENTS[case]
    assert_fails(run(tmp_path, *arguments), *parts)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ('field', 'value', 'problem'),
    [
        ('train_split', 'train[:', 'cannot be taken'),
        ('train_split', 'train[:0]', 'is empty'),
        ('validation_split', 'validation', 'cannot be taken'),
        ('test_split', 'test[500:]', 'cannot be taken'),
        ('test_split', '', 'cannot be taken'),
        ('mean', 'dark', 'data.mean must be a number'),
        ('class_names', ('a',), 'is out of range 0 to 0'),
    ],
)
def test_mistake_in_the_config_is_told_before_anything_is_written(
    colour_config, tmp_path, field, value, problem
):
    config = copy.deepcopy(colour_config)
    config.data[field] = value
    with pytest.raises(UserError) as caught:
        show_data(config, tmp_path / 'shown')
    message = str(caught.value)
    assert problem in message
    assert '\n' not in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('output', ['file', 'file/below/it', '/proc/nowhere'])
def test_nowhere_to_write_is_told_before_the_data_are_prepared(real, tmp_path, output):
    (tmp_path / 'file').write_text('mine')
    idx_dir = idx_files.write_first(tmp_path / 'idx', 20)
    done = run(
        tmp_path,
        '--config.data.name=mine',
        f'--config.data.idx_dir={idx_dir}',
        f'--config.data.data_dir={tmp_path}/data',
        f'--output={output}',
    )
    assert_fails(done, f'cannot write to {output}: ', '--output')
    assert (tmp_path / 'file').read_text() == 'mine'
    assert not (tmp_path / 'data').exists()
