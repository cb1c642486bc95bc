"""What `show_data` says and draws of Fashion-MNIST; mistakes in its arguments."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from configs import default
from fmnist_jax import config as config_lib
from fmnist_jax.reporting.figures.samples import samples_figure
from tests import idx_files
from tests.conftest import ROOT, run_script
from tests.mistakes import assert_fails
from tests.showing import enlarged, paste, statistics, texts, tiles

SCRIPT = 'fmnist_jax.show_data'


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


def test_without_augmentation_there_is_no_picture_of_it(shown):
    assert not (shown[0] / 'augmentation.png').exists()


# Mistakes.


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
