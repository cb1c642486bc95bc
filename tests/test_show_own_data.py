"""What `show_data` says and draws of data of one's own; mistakes in their config."""

import copy
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import default
from fmnist_jax import config as config_lib
from fmnist_jax.data.show import show_data
from fmnist_jax.errors import UserError
from fmnist_jax.reporting.figures.samples import samples_figure
from tests import idx_files
from tests.showing import enlarged, paste, statistics, tiles

NAMES = (
    'A T-shirt, or any other top',
    '$5 trouser$',
    'Pullover',
    '<i>Kleid</i>',
    'none',
)


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


def test_images_that_augmentation_does_not_take(colour_config, tmp_path):
    config = copy.deepcopy(colour_config)
    config.augmentation = ({'name': 'pad_and_crop', 'padding': 20},)
    with pytest.raises(UserError, match=r'less than the sides of the images, .* 20x24'):
        show_data(config, tmp_path / 'shown')
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
