"""Images altered before training, against NumPy and the IDX files of the real ones."""

import json
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import default
from configs.seeds import keras_cnns
from fmnist_jax.data import altered, load_dataset
from fmnist_jax.errors import UserError
from tests import idx_files
from tests.conftest import run_script
from tests.mistakes import assert_fails

SCRIPT = 'fmnist_jax.augment_data'
COUNT = 105
FLIP = {'name': 'horizontal_flip'}
ALWAYS_FLIP = {'name': 'horizontal_flip', 'probability': 1.0}


@pytest.fixture(scope='module')
def real() -> dict[str, np.ndarray]:
    """The first real examples of each split."""
    return {key: array[:COUNT] for key, array in idx_files.parse_real().items()}


@pytest.fixture(scope='module')
def base(real, tmp_path_factory) -> Path:
    """Holds those examples, and what is prepared of them."""
    folder = tmp_path_factory.mktemp('base')
    idx_files.write_folder(folder / 'idx', real)
    return folder


@pytest.fixture
def config(base) -> ConfigDict:
    return make_config(base, ALWAYS_FLIP)


def make_config(base: Path, *augmentation: dict) -> ConfigDict:
    config = default.get_config()
    config.data.update(
        name='few', data_dir=str(base / 'data'), idx_dir=str(base / 'idx')
    )
    config.augmentation = augmentation
    return config


def read(folder: Path) -> dict[str, np.ndarray]:
    """The four files of a folder, without the package."""
    arrays = {}
    for key, name in idx_files.FILE_NAMES.items():
        content = (folder / name).read_bytes()
        header = 16 if key.endswith('images') else 8
        sizes = np.frombuffer(content, '>u4', header // 4 - 1, offset=4)
        arrays[key] = np.frombuffer(content, np.uint8, offset=header).reshape(sizes)
    return arrays


def test_copies_are_beside_their_image(config, real, tmp_path):
    altered.augment_data(config, tmp_path / 'out', copies=2)
    arrays = read(tmp_path / 'out')
    images = arrays['train_images'].reshape(COUNT, 3, 28, 28)
    np.testing.assert_array_equal(images[:, 0], real['train_images'])
    for copy in (1, 2):
        np.testing.assert_array_equal(images[:, copy], real['train_images'][..., ::-1])
    labels = arrays['train_labels'].reshape(COUNT, 3)
    np.testing.assert_array_equal(labels, np.stack([real['train_labels']] * 3, 1))
    for key in ('test_images', 'test_labels'):
        np.testing.assert_array_equal(arrays[key], real[key])


def test_each_copy_is_altered_by_itself(base, real, tmp_path):
    altered.augment_data(make_config(base, FLIP), tmp_path / 'out', copies=3)
    images = read(tmp_path / 'out')['train_images'].reshape(COUNT, 4, 28, 28)
    mirrored = real['train_images'][..., ::-1]
    flipped = (images[:, 1:] == mirrored[:, None]).all((2, 3))
    kept = (images[:, 1:] == real['train_images'][:, None]).all((2, 3))
    assert (flipped | kept).all()
    # 105 throws of a coin, five standard deviations; and the copies' are not the same.
    assert (abs(flipped.mean(0) - 0.5) < 0.25).all()
    assert 0.25 < (flipped[:, 0] == flipped[:, 1]).mean() < 0.75


def test_the_recipe_of_the_five_projects_turns_by_up_to_ten_degrees(base, tmp_path):
    """Turning moves little; the same operations as the config's, but on few images."""
    recipe = keras_cnns.get_config('data').augmentation
    altered.augment_data(make_config(base, *recipe), tmp_path / 'out', copies=2)
    images = read(tmp_path / 'out')['train_images'].reshape(COUNT, 3, 28, 28)
    originals = images[:, 0].astype(float)
    for copy in (images[:, 1].astype(float), images[:, 2].astype(float)):
        nearest = np.minimum(
            abs(copy - originals).mean((1, 2)),
            abs(copy - originals[..., ::-1]).mean((1, 2)),
        )
        others = abs(copy - np.roll(originals, 1, 0)).mean((1, 2))
        assert (nearest > 0).mean() > 0.95
        assert nearest.mean() < others.mean() / 2


def both_orders(base: Path, folder: Path) -> list[dict[str, np.ndarray]]:
    arrays = []
    for order in altered.ORDERS:
        config = make_config(base, {'name': 'pad_and_crop'}, FLIP)
        altered.augment_data(config, folder / order, copies=2, order=order)
        arrays.append(read(folder / order))
    return arrays


def test_another_order_has_the_same_examples(base, tmp_path):
    grouped, shuffled = both_orders(base, tmp_path)
    sorted_ = [
        sorted(
            (image.tobytes(), int(label))
            for image, label in zip(
                arrays['train_images'], arrays['train_labels'], strict=True
            )
        )
        for arrays in (grouped, shuffled)
    ]
    assert sorted_[0] == sorted_[1]
    different = grouped['train_labels'] != shuffled['train_labels']
    assert different.mean() > 0.5


def test_a_split_by_position_leaks_only_if_shuffled(base, tmp_path):
    """Of a last fifth, how many images have a copy, or themselves, in the rest."""
    positions = {
        order: altered._positions(0, order, 3, COUNT) % COUNT
        for order in altered.ORDERS
    }
    cut = COUNT * 3 * 80 // 100
    assert cut % 3 == 0
    for order, leak in (('grouped', 0.0), ('shuffled', 1 - 0.2**2)):
        before, after = positions[order][:cut], positions[order][cut:]
        assert np.isin(after, before).mean() == pytest.approx(leak, abs=0.1)
    # What is written lies as these positions say.
    grouped, shuffled = both_orders(base, tmp_path)
    for arrays, order in ((grouped, 'grouped'), (shuffled, 'shuffled')):
        labels = idx_files.parse_real()['train_labels'][positions[order]]
        np.testing.assert_array_equal(arrays['train_labels'], labels)


def test_it_is_a_function_of_seed_and_position(base, real, tmp_path):
    operations = ({'name': 'pad_and_crop'}, FLIP)
    config = make_config(base, *operations)
    altered.augment_data(config, tmp_path / 'first', order='shuffled')
    altered.augment_data(config, tmp_path / 'again', order='shuffled')
    for name in (*idx_files.FILE_NAMES.values(), altered.DESCRIPTION):
        first, again = (tmp_path / f / name for f in ('first', 'again'))
        assert first.read_bytes() == again.read_bytes()
    config.seed = 1
    altered.augment_data(config, tmp_path / 'other', order='shuffled')
    name = idx_files.FILE_NAMES['train_images']
    assert (tmp_path / 'other' / name).read_bytes() != first.read_bytes()
    # Fewer images, the same copies of them.
    fewer = {key: array[:40] for key, array in real.items()}
    idx_files.write_folder(tmp_path / 'fewer' / 'idx', fewer)
    altered.augment_data(make_config(base, *operations), tmp_path / 'all', copies=1)
    altered.augment_data(
        make_config(tmp_path / 'fewer', *operations), tmp_path / 'few', copies=1
    )
    all_, few = (read(tmp_path / name)['train_images'] for name in ('all', 'few'))
    np.testing.assert_array_equal(all_[:80], few)


def test_it_is_trained_on_as_data_of_ones_own(config, base, tmp_path):
    altered.augment_data(config, tmp_path / 'out')
    config.data.name = 'altered'
    config.data.idx_dir = str(tmp_path / 'out')
    dataset = load_dataset(config.data, log=lambda message: None)
    images, labels = dataset.split('train[:80%]')
    assert images.shape == (COUNT * 3 * 80 // 100, 28, 28, 1)
    assert len(labels) == len(images)


def test_images_in_colour(tmp_path, real):
    colour = {
        key: idx_files.colour(array[:20]) if key.endswith('images') else array[:20]
        for key, array in real.items()
    }
    idx_files.write_folder(tmp_path / 'idx', colour)
    altered.augment_data(make_config(tmp_path, ALWAYS_FLIP), tmp_path / 'out', copies=1)
    content = (tmp_path / 'out' / idx_files.FILE_NAMES['train_images']).read_bytes()
    assert content[:4] == bytes((0, 0, 8, 4))
    images = np.frombuffer(content, np.uint8, offset=20).reshape(20, 2, 28, 28, 3)
    np.testing.assert_array_equal(images[:, 0], colour['train_images'])
    np.testing.assert_array_equal(images[:, 1], colour['train_images'][:, :, ::-1])


def test_the_folder_says_how_it_was_made(config, base, tmp_path):
    description = altered.augment_data(config, tmp_path / 'out', order='shuffled')
    told = json.loads((tmp_path / 'out' / 'augmentation.json').read_text())
    assert told == description
    source = load_dataset(config.data, log=lambda message: None)
    assert told['sha256'] == source.sha256
    assert told['augmentation'] == [ALWAYS_FLIP]
    assert (told['copies'], told['order'], told['seed']) == (2, 'shuffled', 0)
    assert told['complete'] is True


def test_what_was_cut_off_is_written_again_and_nothing_else(config, base, tmp_path):
    out = tmp_path / 'out'
    altered.augment_data(config, out)
    whole = {path.name: path.read_bytes() for path in out.iterdir()}
    # As a kill after the first file leaves it.
    path = out / altered.DESCRIPTION
    path.write_text(json.dumps({**json.loads(path.read_text()), 'complete': False}))
    (out / idx_files.FILE_NAMES['test_labels']).unlink()
    altered.augment_data(config, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == whole
    # The user's own data.
    with pytest.raises(UserError, match='would overwrite; choose another --output'):
        altered.augment_data(config, base / 'idx')
    assert read(base / 'idx')['train_labels'].shape == (COUNT,)
    assert not (base / 'idx' / altered.DESCRIPTION).exists()


@pytest.mark.parametrize('is_complete', [True, False])
def test_images_altered_otherwise_are_not_overwritten(
    is_complete, config, base, tmp_path
):
    out = tmp_path / 'out'
    altered.augment_data(config, out)
    path = out / altered.DESCRIPTION
    held = json.loads(path.read_text())
    path.write_text(json.dumps({**held, 'complete': is_complete}))
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    seeded = make_config(base, ALWAYS_FLIP)
    seeded.seed = 1
    for field, other, arguments in (
        ('copies', config, {'copies': 1}),
        ('order', config, {'order': 'shuffled'}),
        ('seed', seeded, {}),
        ('augmentation', make_config(base, FLIP), {}),
    ):
        with pytest.raises(UserError, match=f'{field} of augment.* differs') as caught:
            altered.augment_data(other, out, **arguments)
        assert '\n' not in str(caught.value)
        assert {file.name: file.read_bytes() for file in out.iterdir()} == before


def test_what_is_read_is_not_overwritten(config, tmp_path):
    """Though it was itself altered, and so might be written again."""
    out = tmp_path / 'out'
    altered.augment_data(config, out)
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    config.data.name = 'altered'
    config.data.idx_dir = str(out)
    (tmp_path / 'link').symlink_to(out)
    for output in (out, tmp_path / 'x' / '..' / 'out', tmp_path / 'link'):
        with pytest.raises(UserError, match=r'is config\.data\.idx_dir, whose'):
            altered.augment_data(config, output)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before


@pytest.mark.parametrize('name', ['mixup', 'cutmix'])
def test_operations_that_mix_classes_are_refused(name, base, tmp_path):
    config = make_config(base, FLIP, {'name': name})
    with pytest.raises(UserError, match=f'{name!r} mixes images of different classes'):
        altered.augment_data(config, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('arguments', 'parts'),
    [
        (('--config=configs/default.py',), ('--output is missing',)),
        (('--output=out',), ('--config is missing',)),
        (
            ('--config=configs/default.py', '--output=out'),
            ('augmentation is empty', 'horizontal_flip'),
        ),
        (
            (
                '--config=configs/default.py',
                '--output=out',
                "--config.augmentation=({'name': 'horizontal_flap'},)",
            ),
            ("unknown augmentation 'horizontal_flap'", "'horizontal_flip'"),
        ),
        (
            ('--config=configs/default.py', '--output=out', '--copies=0'),
            ('--copies=0',),
        ),
        (
            ('--config=configs/default.py', '--output=out', '--order=random'),
            ('--order=random', 'grouped|shuffled'),
        ),
        (
            ('--config=configs/seeds/keras_cnns.py:data', '--output=/dev/null'),
            ('cannot write to /dev/null', '--output'),
        ),
        (
            (
                '--config=configs/seeds/keras_cnns.py:data',
                '--output=out',
                '--config.data.idx_dir=/nowhere',
            ),
            ('/nowhere is not a folder',),
        ),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, parts, tmp_path):
    arguments = [a.replace('=out', f'={tmp_path / "out"}') for a in arguments]
    assert_fails(run_script(SCRIPT, *arguments), *parts)
    assert not (tmp_path / 'out').exists()


def test_more_than_a_file_is_read_with_is_refused(base, tmp_path):
    config = make_config(base, FLIP)
    with pytest.raises(
        UserError, match=r'file of more than 8 GiB.*--copies=\d+$'
    ) as told:
        altered.augment_data(config, tmp_path / 'out', copies=10**9)
    most = int(str(told.value).rpartition('=')[2])
    size = COUNT * 28 * 28
    assert (1 + most) * size <= 2**33 < (2 + most) * size
    assert not (tmp_path / 'out').exists()


def test_the_script_writes_what_the_function_does(config, tmp_path):
    altered.augment_data(config, tmp_path / 'function', copies=1, order='shuffled')
    done = run_script(
        SCRIPT,
        '--config=configs/default.py',
        f'--config.data.name={config.data.name}',
        f'--config.data.data_dir={config.data.data_dir}',
        f'--config.data.idx_dir={config.data.idx_dir}',
        f'--config.augmentation=({ALWAYS_FLIP},)',
        '--copies=1',
        '--order=shuffled',
        f'--output={tmp_path / "script"}',
    )
    assert (done.returncode, done.stderr) == (0, '')
    assert f'{2 * COUNT} training images, shuffled' in done.stdout
    for name in idx_files.FILE_NAMES.values():
        script, function = (tmp_path / f / name for f in ('script', 'function'))
        assert script.read_bytes() == function.read_bytes()
