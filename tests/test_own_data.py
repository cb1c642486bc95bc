"""Data of one's own: sizes, channels, classes and names, each as the files say.

What TFDS prepared is read through TFDS's own API, and compared with the files' bytes.
"""

import copy
import hashlib
import json
import struct
from pathlib import Path

import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds
from ml_collections import ConfigDict

from configs import default
from fmnist_jax.data import Dataset, load_dataset
from fmnist_jax.data.builder import VERSION
from fmnist_jax.errors import UserError
from fmnist_jax.training.evaluation.evaluate import evaluate
from fmnist_jax.training.train import train_and_evaluate
from tests import idx_files

NAMES = ('T-shirt', 'Größe 2', 'pull over', "it's a dress", 'coat')
SPLITS = ('train', 'test')
COUNT = {'train': 300, 'test': 120}


@pytest.fixture(scope='module')
def colour_arrays() -> dict[str, np.ndarray]:
    """Real images of the first five classes in colour, 20x24x3."""
    real, arrays = idx_files.parse_real(), {}
    for split in SPLITS:
        labels = real[f'{split}_labels']
        kept = np.flatnonzero(labels < len(NAMES))[: COUNT[split]]
        images = real[f'{split}_images'][kept, 4:24, 2:26]
        arrays[f'{split}_images'] = idx_files.colour(images)
        arrays[f'{split}_labels'] = labels[kept]
    return arrays


@pytest.fixture(scope='module')
def colour_config(colour_arrays, tmp_path_factory) -> ConfigDict:
    """Those images in IDX files, prepared with class names."""
    folder = tmp_path_factory.mktemp('colour')
    config = own_config(folder, colour_arrays, class_names=NAMES)
    load_dataset(config)
    return config


def own_config(
    folder: Path, arrays: dict[str, np.ndarray], **fields: object
) -> ConfigDict:
    """Writes IDX files below `folder`; gives the config that reads them."""
    idx_dir = idx_files.write_folder(folder / 'idx', arrays)
    config = default.get_config().data
    config.update(
        name='mine', data_dir=str(folder / 'data'), idx_dir=str(idx_dir), **fields
    )
    return config


def prepared(config: ConfigDict) -> dict[str, tfds.core.DatasetBuilder]:
    """What TFDS makes of each folder prepared under a name, by the folder's key."""
    folders = (Path(config.data_dir) / config.name).glob(f'*/{VERSION}')
    return {path.parent.name: tfds.builder_from_directory(path) for path in folders}


def header(path: Path) -> tuple[int, ...]:
    """The dimensions that an IDX file's header gives."""
    content = path.read_bytes()
    return struct.unpack(f'>{content[3]}I', content[4 : 4 + 4 * content[3]])


def file_of(config: ConfigDict, key: str) -> Path:
    return Path(config.idx_dir, idx_files.FILE_NAMES[key])


def error_of(config: ConfigDict) -> str:
    with pytest.raises(UserError) as caught:
        load_dataset(config, lambda line: None)
    message = str(caught.value)
    assert '\n' not in message
    return message


def with_labels(arrays: dict, train: object = None, test: object = None) -> dict:
    """The same images under other labels."""
    labels = {'train_labels': train, 'test_labels': test}
    return arrays | {key: value for key, value in labels.items() if value is not None}


@pytest.mark.parametrize('split', SPLITS)
def test_what_tfds_prepared_agrees_with_the_headers_of_the_files(colour_config, split):
    (builder,) = prepared(colour_config).values()
    count, *shape = header(file_of(colour_config, f'{split}_images'))
    assert header(file_of(colour_config, f'{split}_labels')) == (count,)
    assert count == COUNT[split]
    assert builder.info.splits[split].num_examples == count
    assert builder.info.features['image'].shape == tuple(shape) == (20, 24, 3)
    assert builder.info.features['image'].np_dtype == np.uint8
    assert builder.info.features['label'].names == list(NAMES)

    records = list(builder.as_data_source(split=split))
    pixels = np.stack([record['image'] for record in records]).tobytes()
    assert pixels == file_of(colour_config, f'{split}_images').read_bytes()[20:]
    labels = bytes(int(record['label']) for record in records)
    assert labels == file_of(colour_config, f'{split}_labels').read_bytes()[8:]


def test_data_set_agrees_with_the_files(colour_config, colour_arrays):
    log = []
    dataset = load_dataset(colour_config, log.append)
    assert not log
    assert dataset.image_shape == (20, 24, 3)
    assert (dataset.num_classes, dataset.class_names) == (5, NAMES)
    for key, array in colour_arrays.items():
        np.testing.assert_array_equal(dataset.arrays[key], array)
        content = file_of(colour_config, key).read_bytes()
        assert dataset.sha256[key] == hashlib.sha256(content).hexdigest()


def test_several_contents_and_names_of_classes_live_side_by_side(
    colour_arrays, tmp_path
):
    fewer = {key: array[:100] for key, array in colour_arrays.items()}
    idx_dirs = {
        300: idx_files.write_folder(tmp_path / 'idx', colour_arrays),
        100: idx_files.write_folder(tmp_path / 'fewer', fewer),
    }
    expected = [
        (300, NAMES),
        (300, NAMES[::-1]),
        (300, (*NAMES, 'bag')),
        (300, ('0', '1', '2', '3', '4')),
        (100, NAMES),
    ]
    config, preparations = default.get_config().data, 0
    config.update(name='mine', data_dir=str(tmp_path / 'data'))
    # The second time, each finds what it prepared the first.
    for count, names in expected * 2:
        config.idx_dir = str(idx_dirs[count])
        config.class_names = None if names[0] == '0' else names
        log = []
        dataset = load_dataset(config, log.append)
        assert (len(dataset.arrays['train_labels']), dataset.class_names) == (
            count,
            names,
        )
        preparations += any('preparing' in line for line in log)
    assert preparations == len(expected)
    found = [
        (b.info.splits['train'].num_examples, tuple(b.info.features['label'].names))
        for b in prepared(config).values()
    ]
    assert sorted(found) == sorted(expected)


def test_files_that_say_they_have_one_channel(colour_arrays, tmp_path):
    arrays = colour_arrays | {
        'train_images': colour_arrays['train_images'][..., :1],
        'test_images': colour_arrays['test_images'][..., 0],
    }
    config = own_config(tmp_path, arrays)
    assert len(header(file_of(config, 'train_images'))) == 4
    assert len(header(file_of(config, 'test_images'))) == 3
    log = []
    for _ in range(2):
        dataset = load_dataset(config, log.append)
        assert dataset.image_shape == (20, 24, 1)
        for key, checksum in dataset.sha256.items():
            content = file_of(config, key).read_bytes()
            assert checksum == hashlib.sha256(content).hexdigest()
    assert len(log) == 1
    assert 'preparing' in log[0]


@pytest.mark.parametrize('dtype', ['i2', 'i4'])
def test_more_classes_than_a_byte_can_tell(colour_arrays, tmp_path, dtype):
    labels = np.arange(300, dtype=dtype)[::-1]
    arrays = with_labels(colour_arrays, train=labels, test=labels[:120])
    config = own_config(tmp_path, arrays)
    load_dataset(config)
    dataset = load_dataset(config)
    assert dataset.num_classes == 300
    assert dataset.class_names[299] == '299'
    np.testing.assert_array_equal(dataset.arrays['train_labels'], labels)
    np.testing.assert_array_equal(
        dataset.split('test[:2]+train[-2:]')[1], [299, 298, 1, 0]
    )
    (builder,) = prepared(config).values()
    feature = builder.info.features['label']
    assert (feature.num_classes, feature.np_dtype) == (300, np.int64)
    records = builder.as_data_source(split='train')
    assert [int(record['label']) for record in records] == labels.tolist()


# Labels, names, and what the error says of them.
WRONG_LABELS = {
    'negative': (
        {'train': np.array([0] * 40 + [-1] + [2] * 259, 'i1')},
        None,
        'label -1 of image 40 is out of range 0 to 9999: labels count from 0',
    ),
    'absurd': (
        {'train': np.array([0] * 299 + [2**31 - 1], 'i4')},
        None,
        'label 2147483647 of image 299 is out of range 0 to 9999: no more than 10,000',
    ),
    'negative in test': (
        {'test': np.array([-3] + [0] * 119, 'i4')},
        None,
        'label -3 of image 0 is out of range 0 to 4: labels count from 0',
    ),
    'only in test': (
        {'test': np.array([0] * 118 + [5, 6], 'u1')},
        None,
        'label 5 of image 118 is out of range 0 to 4: the range of the training labels '
        '(if it is right, data.class_names settles the number of classes)',
    ),
    'beyond the names': (
        {},
        NAMES[:4],
        'is out of range 0 to 3: the last of data.class_names is "it\'s a dress"',
    ),
    'beyond the names, in test': (
        {'test': np.array([4] * 7 + [5] + [0] * 112, 'i2')},
        NAMES,
        'label 5 of image 7 is out of range 0 to 4: the last of data.class_names is',
    ),
}


@pytest.mark.parametrize('case', WRONG_LABELS)
def test_label_that_is_no_class_is_named_with_its_file(colour_arrays, tmp_path, case):
    labels, names, problem = WRONG_LABELS[case]
    arrays = with_labels(colour_arrays, **labels)
    config = own_config(tmp_path, arrays, class_names=names)
    message = error_of(config)
    key = 'test_labels' if 'test' in labels else 'train_labels'
    assert message.startswith(f'{file_of(config, key)}: label ')
    assert problem in message
    assert not Path(config.data_dir).exists()


def test_label_only_in_test_is_accepted_where_there_are_names(colour_arrays, tmp_path):
    labels = np.full(120, 5, np.uint8)
    arrays = with_labels(colour_arrays, test=labels)
    config = own_config(tmp_path, arrays, class_names=(*NAMES, 'bag'))
    log = []
    dataset = load_dataset(config, log.append)
    assert dataset.num_classes == 6
    assert log[-1] == 'data: 1 of 6 classes have no training image: bag'


def test_classes_without_a_training_image_are_told(colour_arrays, tmp_path):
    # As EMNIST's letters, which count from 1; and beyond, none of 7 to 19.
    labels = np.array([*range(1, 7), 20] * 42 + [1] * 6, np.uint8)
    arrays = with_labels(colour_arrays, train=labels, test=labels[:120])
    config = own_config(tmp_path, arrays)
    for _ in range(2):
        log = []
        assert load_dataset(config, log.append).num_classes == 21
        assert log[-1] == (
            'data: 14 of 21 classes have no training image: '
            '0, 7, 8, 9, 10, 11, 12, 13, 14, 15, …'
        )


def test_names_of_a_registered_data_set_are_its_own(dataset: Dataset, data_dir):
    config = default.get_config().data
    config.data_dir = data_dir
    config.class_names = dataset.class_names
    assert load_dataset(config).class_names == dataset.class_names
    config.class_names = dataset.class_names[::-1]
    assert 'data.class_names must be None for fashion_mnist' in error_of(config)


@pytest.mark.parametrize('field', ['mean', 'std'])
@pytest.mark.parametrize(
    ('value', 'problem'),
    [
        (0.5, None),
        ((0.5,), None),
        ([0.1, 0.2, 0.3], None),
        ((0.1, 0.2), 'has 2 numbers, and images have 3 channels'),
        # These would broadcast along the width.
        ((0.5,) * 24, 'has 24 numbers, and images have 3 channels'),
    ],
)
def test_normalization_is_a_number_or_one_a_channel(
    colour_config, field, value, problem
):
    config = copy.deepcopy(colour_config)
    config[field] = value
    if problem is None:
        load_dataset(config)
    else:
        assert f'data.{field} {problem}' in error_of(config)


def test_normalization_of_grey_images_is_not_three_numbers(data_dir):
    config = default.get_config().data
    config.update(data_dir=data_dir, std=(0.2, 0.2, 0.2))
    assert 'data.std has 3 numbers, and images have 1 channel:' in error_of(config)


def test_a_run_on_colour_images_names_their_classes(colour_config, tmp_path):
    config = default.get_config()
    config.data = copy.deepcopy(colour_config)
    config.data.update(
        train_split='train[:240]',
        validation_split='train[240:]',
        mean=(0.2, 0.7, 0.1),
        std=(0.3, 0.3, 0.1),
    )
    config.model.name = 'linear'
    config.batch_size, config.num_epochs = 24, 2
    config.num_cpu_devices = jax.device_count()
    train_and_evaluate(config, tmp_path)
    metrics = evaluate(tmp_path)
    written = json.loads((tmp_path / 'eval' / 'test' / 'metrics.json').read_text())
    assert [row['name'] for row in written['per_class']] == list(NAMES)
    assert written['num_parameters'] == 20 * 24 * 3 * 5 + 5
    labels = file_of(colour_config, 'test_labels').read_bytes()[8:]
    with np.load(tmp_path / 'eval' / 'test' / 'predictions.npz') as predictions:
        assert bytes(predictions['labels'].astype(np.uint8)) == labels
        assert predictions['probabilities'].shape == (120, 5)
    # Five balanced classes: a fifth would be chance.
    assert metrics['accuracy'] > 0.4
    with pytest.raises(UserError, match=r'data\.class_names was'):
        config.data.class_names = NAMES[::-1]
        train_and_evaluate(config, tmp_path)
