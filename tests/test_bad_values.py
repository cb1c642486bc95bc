"""Values, names and splits that a config cannot have are named, with what would do."""

import dataclasses
import math
import re

import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import default
from fmnist_jax import config as config_lib
from fmnist_jax.data import Dataset
from fmnist_jax.errors import UserError
from fmnist_jax.training.build import build_experiment
from tests import idx_files
from tests.mistakes import changed

RANGES = [
    ('seed', -1),
    ('seed', 2**32),
    ('batch_size', 0),
    ('batch_size', -8),
    ('num_epochs', 0),
    ('num_epochs', -1),
    ('eval_batch_size', 0),
    ('num_cpu_devices', 0),
    ('steps_per_call', 0),
    ('checkpoint.keep_last', 1),
    ('checkpoint.every_minutes', -1.0),
    ('checkpoint.every_minutes', math.nan),
    ('checkpoint.every_minutes', math.inf),
    ('logging.every_seconds', math.inf),
    ('logging.every_seconds', -0.5),
    ('optimizer.learning_rate', -0.1),
    ('optimizer.learning_rate', math.inf),
    ('optimizer.learning_rate', math.nan),
    ('optimizer.momentum', -0.1),
    ('optimizer.momentum', 1.0),
    ('optimizer.b1', 1.0),
    ('optimizer.b2', 1.5),
    ('optimizer.eps', -1e-8),
    ('optimizer.weight_decay', -0.1),
    ('optimizer.clip_norm', 0.0),
    ('optimizer.clip_norm', 'small'),
    ('optimizer.decay_rate', 0.0),
    ('optimizer.warmup', 5),
    ('optimizer.warmup', '-1 epoch'),
    ('optimizer.warmup', '5 minutes'),
    ('optimizer.decay_every', None),
    ('label_smoothing', 1.0),
    ('train_metrics', 'sometimes'),
    ('init_from', 3),
    ('data.idx_dir', 3),
    ('model.name', None),
    ('augmentation', 2),
    ('data.mean', math.nan),
    ('data.std', 0.0),
    ('data.std', -1.0),
    ('data.std', (0.5, 0.0, 0.5)),
    ('data.std', 'large'),
    ('batch_size', 2.5),
    ('batch_size', True),
    ('batch_size', None),
    ('seed', '0'),
    ('optimizer.learning_rate', '0.1'),
    ('optimizer.learning_rate', None),
    ('optimizer.name', None),
    ('precision', 32),
    ('data.train_split', 5),
    ('data.data_dir', None),
    ('data.class_names', ()),
    ('data.class_names', 'cat'),
    ('data.class_names', (None,)),
    ('data.class_names', ('cat', 3)),
    ('data.class_names', ('cat', '')),
    ('data.class_names', ('cat', 'dog', 'cat')),
    ('data.class_names', ('cat', ' dog')),
    ('data.class_names', ('cat\n', 'dog')),
    ('augmentation', ('horizontal_flip',)),
]


@pytest.mark.parametrize(('field', 'value'), RANGES)
def test_field_out_of_range_or_of_the_wrong_type_is_named(field, value):
    config = changed(default.get_config(), field, value)
    with pytest.raises(UserError) as caught:
        config_lib.validate(config)
    message = str(caught.value)
    assert message.startswith(f'{field} must be ')
    assert '\n' not in message


@pytest.mark.parametrize(
    ('field', 'value'),
    [
        ('seed', 2**32 - 1),
        ('optimizer.learning_rate', 0),
        ('optimizer.momentum', 0),
        ('checkpoint.every_minutes', None),
        ('num_cpu_devices', None),
        ('data.mean', (0.1, 0.2, 0.3)),
        ('data.class_names', ('cat', "a dog's, Größe 2")),
        ('data.class_names', ['cat']),
        ('model.width', 3),
        ('data.idx_dir', '~/mine'),
    ],
)
def test_field_at_the_edge_of_its_range_is_accepted(field, value):
    config_lib.validate(changed(default.get_config(), field, value))


@pytest.mark.parametrize(
    'field', ['batchsize', 'optimizer.lr', 'data.split', 'extra.x']
)
def test_field_that_is_unknown_is_named(field):
    config = changed(default.get_config(), field, 1)
    with pytest.raises(UserError, match=f"unknown config field '{re.escape(field)}'"):
        config_lib.validate(config)


NAMES = {
    'model.name': ('bn_cn', "unknown model 'bn_cn'; did you mean 'bn_cnn'?"),
    'model.kernels': (3, "field of model 'tinyvgg' 'kernels'"),
    'optimizer.name': ('adm', "unknown optimizer.name 'adm'; did you mean 'adam'?"),
    'optimizer.schedule': ('cosin', "'cosin'; did you mean 'cosine'?"),
    'precision': ('float23', "unknown precision 'float23'; did you mean 'float32'?"),
    'augmentation': (({'name': 'flip'},), "unknown augmentation 'flip'"),
    'data.name': ('mnist', "unknown data.name 'mnist'; did you mean 'fashion_mnist'?"),
    'data.train_split': ('train[', "split 'train[' of fashion_mnist"),
    'batch_size': (641, 'batch_size 641 is more than the 640 examples of data.train_s'),
}


@pytest.mark.parametrize('field', NAMES)
def test_name_that_is_unknown_gets_the_nearest(
    small_config: ConfigDict, dataset: Dataset, field: str
):
    value, expected = NAMES[field]
    with pytest.raises(UserError) as caught:
        build_experiment(changed(small_config, field, value))
    message = str(caught.value)
    assert expected in message
    assert '\n' not in message


@pytest.mark.parametrize(
    ('name', 'problem'),
    [
        ('no_such_module:Model', 'No module named'),
        ('fmnist_jax.models:NoSuchModel', 'NoSuchModel'),
        ('fmnist_jax.models:create_model', 'is not a flax.linen.Module'),
        (':Model', 'cannot be imported'),
        ('fmnist_jax.models:', 'cannot be imported'),
    ],
)
def test_model_of_one_s_own_that_cannot_be_used_is_named(small_config, name, problem):
    small_config.model.name = name
    with pytest.raises(UserError, match=re.escape(problem)) as caught:
        build_experiment(small_config)
    assert repr(name) in str(caught.value)


def test_folder_of_data_with_differing_counts_is_named(small_config, tmp_path):
    arrays = {key: array[:100] for key, array in idx_files.parse_real().items()}
    arrays['test_labels'] = arrays['test_labels'][:50]
    folder = idx_files.write_folder(tmp_path / 'idx', arrays)
    small_config.data.update(name='mine', idx_dir=str(folder))
    with pytest.raises(UserError, match='100 test images but 50 test labels') as caught:
        build_experiment(small_config)
    assert str(folder) in str(caught.value)


def test_split_beyond_the_data_of_one_s_own_is_named(small_config, tmp_path):
    folder = idx_files.write_first(tmp_path / 'idx', 100)
    small_config.data.update(
        name='mine', idx_dir=str(folder), data_dir=str(tmp_path / 'data')
    )
    with pytest.raises(UserError, match=r"split 'train\[:640\]' of mine"):
        build_experiment(small_config)


@pytest.mark.parametrize(
    ('field', 'split', 'problem'),
    [
        ('train_split', 'train[:55000]', 'incompatible with 100 examples'),
        ('validation_split', 'train[100:]', 'is empty'),
    ],
)
def test_split_that_does_not_fit_data_of_one_s_own_says_what_would(
    tmp_path, field, split, problem
):
    folder = idx_files.write_first(tmp_path / 'idx', 100)
    config = default.get_config()
    config.data.update(
        name='mine',
        idx_dir=str(folder),
        data_dir=str(tmp_path / 'data'),
        train_split='train[:100]',
    )
    config.data[field] = split
    with pytest.raises(UserError) as caught:
        build_experiment(config)
    message = str(caught.value)
    assert f'split {split!r} of mine' in message
    assert problem in message
    assert '100 examples in train and 100 in test' in message
    assert "--config.data.validation_split='train[90%:]'" in message
    assert '\n' not in message


def test_split_of_a_data_set_names_the_data_set(dataset: Dataset):
    own = dataclasses.replace(dataset, name='mine')
    with pytest.raises(UserError, match="split 'nowhere' of mine"):
        own.split('nowhere')
    assert np.array_equal(own.split('test')[1], dataset.arrays['test_labels'])
