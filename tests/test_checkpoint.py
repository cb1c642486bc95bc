"""Checkpoints: what is written comes back, and damage of any kind is noticed."""

import random
import subprocess
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from fmnist_jax.errors import UserError
from fmnist_jax.models import create_model
from fmnist_jax.training.checkpoint_folder import Checkpoints
from fmnist_jax.training.hyperparameters import Hyperparameters
from fmnist_jax.training.parallel import DeviceGroup, jit_once
from fmnist_jax.training.record import Record
from fmnist_jax.training.state import TrainState, create_state


def line(step: int, accuracy: float, split: str = 'validation') -> dict:
    return {'epoch': step, 'step': step, 'split': split, 'accuracy': accuracy}


@pytest.fixture
def state(small_config, devices) -> TrainState:
    """The state of a batch-normalised model with Adam, on two devices."""
    hyperparameters = Hyperparameters.create(small_config, 50, np.dtype('float32'))
    model = create_model('bn_cnn', num_classes=10)

    def create(hyperparameters):
        return create_state(model, 'adam', hyperparameters, (28, 28, 1), jnp.float32)

    return DeviceGroup(devices[:2]).replicate(jit_once(create)(hyperparameters))


@pytest.fixture
def saved(state, tmp_path) -> Checkpoints:
    """Checkpoints of steps 1 and 2; the best is step 1."""
    checkpoints = Checkpoints(epath.Path(tmp_path))
    metrics = []
    for step, accuracy in ((1, 0.8), (2, 0.7)):
        metrics.append(line(step, accuracy))
        record = Record(metrics=metrics, epoch_seconds=step / 7)
        checkpoints.save(state.replace(step=jnp.int32(step)), record, keep_last=2)
    return checkpoints


def files_of(checkpoints: Checkpoints, step: int) -> list[Path]:
    return sorted(
        p for p in Path(checkpoints.folder, str(step)).rglob('*') if p.is_file()
    )


def test_what_is_saved_is_restored_bit_for_bit(saved, state, devices):
    step = saved.latest(pytest.fail)
    assert step == 2
    # Written by two devices, read for as many as there are.
    restored, record = saved.restore(step, DeviceGroup(devices[:8]).abstract(state))
    assert record == Record([line(1, 0.8), line(2, 0.7)], 2 / 7)
    expected_state = state.replace(step=jnp.int32(2))
    for leaf, expected in zip(
        jax.tree.leaves(restored), jax.tree.leaves(expected_state), strict=True
    ):
        assert leaf.dtype == expected.dtype
        assert leaf.tobytes() == np.asarray(expected).tobytes()


def test_a_flipped_bit_in_any_file_is_noticed(saved, state):
    generator = random.Random(0)
    paths = files_of(saved, 2)
    assert len(paths) > 5
    for path in paths:
        content = path.read_bytes()
        for _ in range(5):
            damaged = bytearray(content)
            position = generator.randrange(len(content))
            damaged[position] ^= 1 << generator.randrange(8)
            path.write_bytes(bytes(damaged))
            messages = []
            assert saved.latest(messages.append) == 1
            assert f'{saved.folder}/2 is damaged' in messages[0]
            with pytest.raises(UserError, match='damaged'):
                saved.find('2', messages.append)
        path.write_bytes(content)
    assert saved.latest(pytest.fail) == 2


def test_a_missing_or_an_additional_file_is_noticed(saved):
    for path in files_of(saved, 2):
        content = path.read_bytes()
        path.unlink()
        messages = []
        assert saved.latest(messages.append) == 1
        assert 'trying the one before' in messages[0]
        path.write_bytes(content)
    (saved.folder / '2' / 'added').write_text('')
    assert saved.latest(lambda message: None) == 1


def test_the_manifest_is_what_sha256sum_checks(saved):
    done = subprocess.run(
        ['sha256sum', '--check', '--strict', 'manifest.sha256'],
        cwd=saved.folder / '2',
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(': OK') == len(files_of(saved, 2)) - 1


def test_the_last_ones_and_the_best_are_kept(saved, state):
    record = Record([line(1, 0.8), line(2, 0.7)])
    for step in (3, 4, 5):
        # Step 4 equals the best so far, which stays the earliest.
        record.metrics.append(line(step, {3: 0.6, 4: 0.8, 5: 0.5}[step]))
        saved.save(state.replace(step=jnp.int32(step)), record, keep_last=2)
    assert saved.steps() == [1, 4, 5]
    assert saved.find('best', pytest.fail) == 1
    assert saved.find('last', pytest.fail) == 5
    assert saved.find('4', pytest.fail) == 4


def damage(checkpoints: Checkpoints, step: int) -> None:
    path = files_of(checkpoints, step)[0]
    path.write_bytes(path.read_bytes() + b'x')


def test_damaged_checkpoints_do_not_push_out_whole_ones(saved, state):
    """Resumed from step 1 behind two damaged ones, and saved before reaching them."""
    record = Record([line(1, 0.8), line(20, 0.5), line(30, 0.7)])
    for step in (20, 30):
        saved.save(state.replace(step=jnp.int32(step)), record, keep_last=3)
        damage(saved, step)
    damage(saved, 2)
    assert saved.latest(lambda message: None) == 1
    saved.clean_up()
    assert saved.steps() == [1]
    saved.save(state.replace(step=jnp.int32(5)), Record([line(1, 0.8)]), keep_last=2)
    assert saved.steps() == [1, 5]
    assert saved.latest(pytest.fail) == 5


def test_the_best_of_the_whole_ones_stands_in_for_a_damaged_best(saved, state):
    record = Record([line(1, 0.8), line(2, 0.7), line(3, 0.75)])
    saved.save(state.replace(step=jnp.int32(3)), record, keep_last=2)
    damage(saved, 1)
    messages = []
    assert saved.find('best', messages.append) == 3
    assert f'{saved.folder}/1, is not whole' in messages[0]


def test_saving_again_over_a_damaged_checkpoint_mends_it(saved, state):
    damage(saved, 2)
    assert not saved.is_whole(2)
    saved.save(state.replace(step=jnp.int32(2)), Record([line(1, 0.8)]), keep_last=2)
    assert saved.latest(pytest.fail) == 2


def test_what_a_killed_process_left_is_removed(saved):
    (saved.folder / '3.orbax-checkpoint-tmp' / 'state').mkdir(parents=True)
    (saved.folder / '3.orbax-checkpoint-tmp' / 'state' / 'x').write_text('x')
    (saved.folder / '4' / 'state').mkdir(parents=True)
    messages = []
    assert saved.latest(messages.append) == 2
    assert 'was not finished' in messages[0]
    (saved.folder / 'notes').write_text('of the user')
    saved.clean_up()
    assert sorted(p.name for p in saved.folder.iterdir()) == ['1', '2', 'notes']


def test_mistakes_in_naming_a_checkpoint(saved, tmp_path):
    for which, message in (
        ('7', 'no checkpoint 7 .* there are: 1, 2'),
        ('worst', 'must be best, last or a step'),
    ):
        with pytest.raises(UserError, match=message):
            saved.find(which, pytest.fail)
    empty = Checkpoints(epath.Path(tmp_path) / 'none')
    assert empty.latest(pytest.fail) is None
    with pytest.raises(UserError, match='no whole checkpoint'):
        empty.find('best', pytest.fail)


def test_a_checkpoint_of_another_model_is_refused(saved, state, devices):
    other = state.replace(params={'Dense_0': {'kernel': jnp.zeros((784, 10))}})
    message = r'bias is float32\[12\] there and absent here, and 11 more differ'
    with pytest.raises(UserError, match=message):
        saved.restore(2, DeviceGroup(devices[:1]).abstract(other))
    params = jax.tree.map(lambda x: jnp.zeros((*x.shape, 2)), state.params)
    with pytest.raises(UserError, match='does not fit the config'):
        saved.restore(
            2, DeviceGroup(devices[:1]).abstract(state.replace(params=params))
        )


def test_a_file_cut_short_is_noticed(saved):
    for path in files_of(saved, 2):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        messages = []
        assert saved.latest(messages.append) == 1
        assert f'{saved.folder}/2 is damaged' in messages[0] or not content
        path.write_bytes(content)


def test_that_all_are_damaged_is_an_error_and_removes_nothing(saved):
    for step in (1, 2):
        path = max(files_of(saved, step), key=lambda path: path.stat().st_size)
        path.write_bytes(path.read_bytes()[:-1])
    before = [p for step in (1, 2) for p in files_of(saved, step)]
    messages = []
    with pytest.raises(UserError, match=r'there is no whole checkpoint in .* backup'):
        saved.latest(messages.append)
    assert ['is damaged' in message for message in messages] == [True, True]
    assert [p for step in (1, 2) for p in files_of(saved, step)] == before
