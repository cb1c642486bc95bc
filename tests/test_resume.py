"""Runs that are killed at any moment end as an uninterrupted one does, bit for bit."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from tests import event_files
from tests.conftest import ROOT, run_script

# Timing fields, which differ from run to run.
TIMES = ('seconds', 'images_per_second')


@pytest.fixture(scope='module')
def flags(data_dir: str) -> list[str]:
    """All that has a state or draws numbers; seconds of training in four epochs."""
    return [
        '--config=configs/default.py',
        f'--config.data.data_dir={data_dir}',
        '--config.data.train_split=train[:4800]',
        '--config.data.validation_split=train[55000:56000]',
        '--config.model.name=tests.nets:DropoutNet',
        "--config.augmentation=({'name': 'pad_and_crop'},)",
        '--config.optimizer.name=adamw',
        '--config.optimizer.learning_rate=0.003',
        '--config.optimizer.schedule=cosine',
        '--config.optimizer.warmup=0.5 epochs',
        '--config.optimizer.weight_decay=0.05',
        '--config.optimizer.clip_norm=1.0',
        '--config.label_smoothing=0.1',
        '--config.train_metrics=after_epoch',
        '--config.num_epochs=4',
        '--config.num_cpu_devices=2',
        # A checkpoint every 0.15 s as well as after every epoch.
        '--config.checkpoint.every_minutes=0.0025',
    ]


@pytest.fixture(scope='module')
def uninterrupted(flags, tmp_path_factory) -> Path:
    """The work folder of a run that nobody disturbed."""
    workdir = tmp_path_factory.mktemp('uninterrupted')
    done = run_script('fmnist_jax.main', *flags, f'--workdir={workdir}')
    assert done.returncode == 0, done.stderr
    return workdir


def last_step(workdir: Path) -> int:
    return max(int(p.name) for p in (workdir / 'checkpoints').iterdir())


def last_state(workdir: Path) -> dict:
    """Everything in the last checkpoint, read by Orbax itself."""
    path = workdir / 'checkpoints' / str(last_step(workdir))
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        args = ocp.args.Composite(state=ocp.args.StandardRestore())
        return jax.tree.map(np.asarray, checkpointer.restore(path, args).state)


def metrics(workdir: Path) -> list[str]:
    """The lines of metrics.jsonl, byte for byte but for the times."""
    lines = []
    for line in (workdir / 'metrics.jsonl').read_text().splitlines():
        record = json.loads(line)
        times = [record.pop(name) for name in TIMES if name in record]
        assert len(times) == (2 if record['split'] == 'train' else 0)
        assert all(value > 0 for value in times)
        lines.append(json.dumps(record))
    return lines


def assert_same_run(workdir: Path, expected: Path) -> None:
    state, expected_state = last_state(workdir), last_state(expected)
    assert jax.tree.structure(state) == jax.tree.structure(expected_state)
    for (path, leaf), other in zip(
        jax.tree_util.tree_leaves_with_path(state),
        jax.tree.leaves(expected_state),
        strict=True,
    ):
        assert leaf.tobytes() == other.tobytes(), path
    assert metrics(workdir) == metrics(expected)
    shown = event_files.same_in_every_run(workdir)
    assert shown == event_files.same_in_every_run(expected)


def newest_sealed(workdir: Path) -> int:
    """The step of the newest checkpoint that has its manifest; 0 if there is none."""
    manifests = workdir.glob('checkpoints/*/manifest.sha256')
    return max((int(path.parent.name) for path in manifests), default=0)


def is_writing(workdir: Path) -> bool:
    """Whether a checkpoint newer than the newest sealed one is half-written.

    (Old ones lose their manifest first when they are removed.)
    """
    newest = newest_sealed(workdir)
    try:
        names = os.listdir(workdir / 'checkpoints')
    except FileNotFoundError:
        return False
    # Orbax writes into STEP.orbax-checkpoint-tmp and renames it.
    return any(int(name.split('.')[0]) > newest for name in names)


class Killer:
    """Starts a training and kills it with SIGKILL in a chosen phase."""

    def __init__(self, flags: list[str], workdir: Path):
        self.flags, self.workdir = flags, workdir
        self.phases: list[str] = []
        self._random = random.Random(2)

    def start(self) -> subprocess.Popen:
        with open(self.workdir.parent / 'log', 'a') as log:
            command = [sys.executable, '-m', 'fmnist_jax.main', *self.flags]
            return subprocess.Popen(
                [*command, f'--workdir={self.workdir}'],
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )

    def kill(self, process: subprocess.Popen) -> None:
        """Kills, and notes in which phase the process really was."""
        assert process.poll() is None, 'the run ended before it could be killed'
        process.send_signal(signal.SIGKILL)
        process.wait()
        phase = 'before any checkpoint'
        if is_writing(self.workdir):
            phase = 'while a checkpoint was being written'
        elif newest_sealed(self.workdir):
            phase = 'after a checkpoint'
        self.phases.append(phase)

    def before_training(self) -> None:
        process = self.start()
        time.sleep(self._random.uniform(0.5, 3))
        self.kill(process)

    def while_writing(self) -> None:
        process = self.start()
        self._wait_for(lambda: not is_writing(self.workdir), process)  # Cleaned up.
        self._wait_for(lambda: is_writing(self.workdir), process)
        time.sleep(self._random.uniform(0, 0.03))
        self.kill(process)

    def after_checkpoint(self) -> None:
        before = newest_sealed(self.workdir)
        process = self.start()
        self._wait_for(lambda: newest_sealed(self.workdir) > before, process)
        time.sleep(self._random.uniform(0, 0.1))
        self.kill(process)

    @staticmethod
    def _wait_for(condition, process: subprocess.Popen) -> None:
        deadline = time.monotonic() + 120
        while not condition():
            assert process.poll() is None, 'the run ended while it was waited for'
            assert time.monotonic() < deadline
            time.sleep(0.0005)


def test_ten_kills_change_nothing(flags, uninterrupted, tmp_path, capsys):
    workdir = tmp_path / 'run'
    killer = Killer(flags, workdir)
    for _ in range(2):
        killer.before_training()
    for _ in range(4):
        killer.after_checkpoint()
        killer.while_writing()
    with capsys.disabled():
        for number, phase in enumerate(killer.phases, 1):
            print(f'\nkill {number}: {phase}', end='')
    after = killer.phases.count('after a checkpoint')
    writing = killer.phases.count('while a checkpoint was being written')
    assert len(killer.phases) >= 10
    assert after + writing >= 5
    assert writing >= 2
    done = run_script('fmnist_jax.main', *flags, f'--workdir={workdir}')
    assert done.returncode == 0, done.stderr
    assert 'resumed from' in done.stdout
    assert_same_run(workdir, uninterrupted)


def snapshot(workdir: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(workdir.rglob('*'))
        if path.is_file()
    }


def test_a_finished_run_says_so_and_changes_nothing(flags, uninterrupted):
    before = snapshot(uninterrupted)
    done = run_script('fmnist_jax.main', *flags, f'--workdir={uninterrupted}')
    assert done.returncode == 0, done.stderr
    assert 'has finished' in done.stdout
    assert snapshot(uninterrupted) == before


def test_a_damaged_checkpoint_costs_no_more_than_its_own_steps(
    flags, uninterrupted, tmp_path
):
    workdir = tmp_path / 'run'
    subprocess.run(['cp', '-r', uninterrupted, workdir], check=True)
    damaged = workdir / 'checkpoints' / str(last_step(workdir))
    largest = max(damaged.rglob('*'), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 4
    largest.write_bytes(bytes(content))
    # The files of metrics are made whole from the checkpoint as well.
    (workdir / 'metrics.jsonl').write_text('{"epoch": 1, "st')
    (events,) = (workdir / 'tensorboard').iterdir()
    events.write_bytes(events.read_bytes()[:2000])
    done = run_script('fmnist_jax.main', *flags, f'--workdir={workdir}')
    assert done.returncode == 0, done.stderr
    assert f'{damaged} is damaged' in done.stdout
    assert 'resumed from' in done.stdout
    assert_same_run(workdir, uninterrupted)


def test_another_config_or_other_data_are_refused(flags, uninterrupted):
    before = snapshot(uninterrupted)
    for override, name in (
        ('--config.optimizer.learning_rate=0.1', 'optimizer.learning_rate'),
        ('--config.model.name=tinyvgg', 'model.name'),
        ('--config.num_epochs=7', 'num_epochs'),
    ):
        done = run_script(
            'fmnist_jax.main', *flags, override, f'--workdir={uninterrupted}'
        )
        assert done.returncode == 2
        assert f'{name} was' in done.stderr
        assert 'Traceback' not in done.stderr
    assert snapshot(uninterrupted) == before
