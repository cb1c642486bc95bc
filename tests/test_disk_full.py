"""A full disk, of a few hundred kilobytes: nothing that was written is lost."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from etils import epath
from flax import struct

from fmnist_jax.errors import UserError
from fmnist_jax.training.checkpoint_folder import Checkpoints
from fmnist_jax.training.record import Record
from tests.conftest import ROOT, run_script
from tests.whole_runs import (
    assert_same_run,
    data_flags,
    last_step,
    train_undisturbed,
)

# Namespaces of its own, so that no right is needed to make a small disk.
UNSHARE = ('unshare', '--user', '--map-root-user', '--mount')
PAGE = os.sysconf('SC_PAGE_SIZE')
RARELY = '--config.checkpoint.every_minutes=60'
MOUNT = 'mount -t tmpfs -o size="$1" none "$2" || exit 99'
TRAIN = """
"${@:4}" --workdir="$2/run"
code=$?
cp -r "$2/run" "$3"
exit $code
"""
# Another fills the disk after the first checkpoint.
FILL = """
(
  until ls "$2"/run/checkpoints/*/manifest.sha256; do sleep 0.01; done
  cat /dev/zero > "$2/filler"
) &> /dev/null &
trap "kill $! 2> /dev/null" EXIT
"""


@pytest.fixture(scope='module')
def flags(data_dir: str) -> list[str]:
    """Checkpoints of 70 kB, one a tenth of a second."""
    return [
        *data_flags(data_dir),
        '--config.num_epochs=2',
        '--config.num_cpu_devices=2',
        '--config.checkpoint.every_minutes=0.002',
    ]


@pytest.fixture(scope='module')
def uninterrupted(flags, tmp_path_factory) -> Path:
    return train_undisturbed(flags, tmp_path_factory.mktemp('uninterrupted'))


@pytest.fixture
def train_on_small_disk(flags, tmp_path):
    """Trains on a disk of some bytes, and copies what is left of it."""

    def train(size: int, *more: str, fill: bool = False) -> tuple[str, Path]:
        """The error, with paths from the work folder; that folder's copy."""
        if shutil.which('unshare') is None:
            pytest.skip('needs unshare')
        disk, saved = tmp_path / 'disk', tmp_path / 'run'
        disk.mkdir()
        script = MOUNT + (FILL if fill else '') + TRAIN
        train = [sys.executable, '-m', 'fmnist_jax.main', *flags, *more]
        done = subprocess.run(
            [*UNSHARE, 'bash', '-c', script, 'bash', str(size), disk, saved, *train],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        if done.returncode == 99:
            pytest.skip(f'this system lets nobody make a small disk: {done.stderr}')
        assert done.returncode == 2, done.stdout
        assert 'Traceback' not in done.stderr
        (line,) = [x for x in done.stderr.splitlines() if x.startswith('error: ')]
        return line.replace(f'{disk}/run/', ''), saved

    return train


def assert_gone_on_with(workdir: Path, flags: list[str], uninterrupted: Path) -> None:
    """What is there is whole, and trained on from."""
    step = last_step(workdir)
    done = run_script('fmnist_jax.main', *flags, f'--workdir={workdir}')
    assert done.returncode == 0, done.stderr
    assert ('resumed from' in done.stdout) == (step > 0)
    assert_same_run(workdir, uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('size', 'has_checkpoint'),
    [(40, False), (200, False), (420, True), (600, True)],
)
def test_full_at_a_checkpoint(
    size, has_checkpoint, flags, uninterrupted, train_on_small_disk
):
    line, workdir = train_on_small_disk(size * 1024)
    assert line.startswith('error: cannot write the checkpoint checkpoints/')
    assert 'those before it are kept. Make room and run the same command' in line
    assert (last_step(workdir) > 0) == has_checkpoint
    assert_gone_on_with(workdir, flags, uninterrupted)


@pytest.mark.slow
def test_full_at_the_metrics_of_the_second_epoch(
    flags, uninterrupted, train_on_small_disk
):
    line, workdir = train_on_small_disk(2**21, RARELY, fill=True)
    assert line == 'error: cannot write metrics.jsonl: No space left on device'
    assert last_step(workdir) == 150
    assert_gone_on_with(workdir, flags, uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('room', 'path'),
    [(0, 'metrics.jsonl'), (1, 'tensorboard/events.out.tfevents')],
)
def test_full_at_the_metrics_of_the_first_epoch(
    room, path, flags, uninterrupted, train_on_small_disk
):
    # So many pages as what is written before takes, and room for no more files.
    names = ('config.json', 'provenance.json', 'startup.json')
    sizes = [(uninterrupted / name).stat().st_size for name in names]
    pages = room + sum(-(-size // PAGE) for size in sizes)
    line, workdir = train_on_small_disk(pages * PAGE, RARELY)
    assert line == f'error: cannot write {path}: No space left on device'
    assert last_step(workdir) == 0
    assert_gone_on_with(workdir, flags, uninterrupted)


@struct.dataclass
class State:
    """The least that is a checkpoint's."""

    step: np.ndarray
    weights: np.ndarray


def test_full_at_the_manifest(tmp_path, monkeypatch):
    checkpoints = Checkpoints(epath.Path(tmp_path))
    states = [State(np.int32(step), np.arange(1000.0) + step) for step in range(3)]
    checkpoints.save(states[1], Record(), keep_last=2)

    def write_bytes(self, content=b''):
        # As far as it gets.
        self.write_text('')
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(type(checkpoints.folder), 'write_bytes', write_bytes)
        with pytest.raises(UserError) as caught:
            checkpoints.save(states[2], Record(), keep_last=2)
    assert str(caught.value) == (
        f'cannot write the checkpoint {tmp_path}/checkpoints/2: No space left on '
        'device; those before it are kept. Make room and run the same command again '
        'to go on'
    )
    assert [path.name for path in checkpoints.folder.iterdir()] == ['1']
    assert checkpoints.latest(pytest.fail) == 1
    # A disk on which nothing can be removed, either.
    with monkeypatch.context() as full:
        full.setattr(type(checkpoints.folder), 'write_bytes', write_bytes)
        full.setattr(type(checkpoints.folder), 'rmtree', write_bytes)
        with pytest.raises(UserError, match='cannot write the checkpoint'):
            checkpoints.save(states[2], Record(), keep_last=2)
    assert checkpoints.steps() == [1, 2]
    messages = []
    assert checkpoints.latest(messages.append) == 1
    assert 'checkpoints/2 was not finished; trying the one before' in messages[0]
    checkpoints.save(states[2], Record(), keep_last=2)
    assert checkpoints.latest(pytest.fail) == 2
