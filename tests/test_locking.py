"""A work folder is trained in by one process at a time."""

import fcntl
import shutil
import signal
import subprocess
import sys

import pytest
from etils import epath

from fmnist_jax import locking
from fmnist_jax.errors import UserError
from tests.conftest import ROOT, run_script

HOLD = """
import sys, time
from etils import epath
from fmnist_jax import locking
with locking.hold(epath.Path(sys.argv[1])):
    print('held', flush=True)
    time.sleep(100)
"""


# Holds a folder for a moment, and removes it while it does, again and again.
FAIL = """
import os, shutil, sys, time
from etils import epath
from fmnist_jax import locking
from fmnist_jax.errors import UserError
folder, mark = epath.Path(sys.argv[1]), sys.argv[2]
refused = 0
print('ready', flush=True)
sys.stdin.readline()
for _ in range(300):
    try:
        with locking.hold(folder):
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
            time.sleep(0.001)
            os.unlink(mark)
            shutil.rmtree(folder, ignore_errors=True)
    except UserError:
        refused += 1
print(300 - refused, refused)
"""


@pytest.fixture
def held(tmp_path):
    """A folder that another process holds, and that process."""
    command = [sys.executable, '-c', HOLD, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b'held\n'
        yield tmp_path, process
        process.kill()


def test_a_second_training_is_refused(held, data_dir):
    folder, _ = held
    before = sorted(folder.iterdir())
    for script, *more in (
        ('main',),
        ('sweep', '--grid=optimizer.learning_rate=0.1,0.2'),
    ):
        done = run_script(
            f'fmnist_jax.{script}',
            '--config=configs/default.py',
            f'--config.data.data_dir={data_dir}',
            '--config.model.name=linear',
            f'--workdir={folder}',
            *more,
        )
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith(f'error: another process is training in {folder}; ')
        assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize('name', [signal.SIGKILL, signal.SIGTERM])
def test_the_lock_of_a_dead_process_holds_nobody_up(name, held):
    folder, process = held
    with pytest.raises(UserError, match='another'), locking.hold(epath.Path(folder)):
        pass
    process.send_signal(name)
    process.wait()
    with locking.hold(epath.Path(folder)):
        pass


def test_a_lock_that_was_removed_holds_nothing(tmp_path, monkeypatch):
    folder = epath.Path(tmp_path) / 'run'
    removed = []

    def lock(file, operation):
        if not removed:
            # As another process does that has failed and held it until now.
            removed.append(file.name)
            shutil.rmtree(folder)
        flock(file, operation)

    flock = fcntl.flock
    monkeypatch.setattr(fcntl, 'flock', lock)
    with locking.hold(folder):
        assert removed == [str(folder / '.lock')]
        with pytest.raises(UserError, match='another'), locking.hold(folder):
            pass
    assert folder.exists()


def test_a_lock_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / '.lock').symlink_to(tmp_path / 'gone' / 'lock')
    message = 'its .lock is removed again and again; choose another --workdir'
    with (
        pytest.raises(UserError, match=message),
        locking.hold(epath.Path(tmp_path)),
    ):
        pass


def test_of_many_that_come_and_go_one_at_a_time_holds(tmp_path):
    command = [sys.executable, '-c', FAIL, tmp_path / 'run', tmp_path / 'mark']
    pipes = {'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE}
    processes = [subprocess.Popen(command, cwd=ROOT, **pipes) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == b'ready\n'
    for process in processes:
        process.stdin.write(b'go\n')
        process.stdin.flush()
    counts = [process.communicate(timeout=60)[0].split() for process in processes]
    # That of one who finds the mark of another ends with an error.
    assert [process.returncode for process in processes] == [0, 0, 0]
    # They met, and each held it at times.
    assert all(int(held) > 0 for held, _ in counts)
    assert any(int(refused) > 0 for _, refused in counts)


def test_a_lock_is_left_free(tmp_path):
    for _ in range(2):
        with locking.hold(epath.Path(tmp_path)):
            pass
