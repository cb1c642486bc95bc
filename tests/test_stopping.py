"""Signals to real processes: a checkpoint, the code of schedulers, nothing lost."""

import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT, run_script
from tests.jobs import Job
from tests.whole_runs import (
    assert_same_run,
    data_flags,
    last_step,
    train_undisturbed,
)

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@pytest.fixture(scope='module')
def flags(data_dir: str) -> list[str]:
    """Two epochs that are long for what is waited for: a second each."""
    return [
        *data_flags(data_dir, 27520),
        '--config.model.name=tests.nets:DropoutNet',
        '--config.num_epochs=2',
        '--config.num_cpu_devices=2',
        '--config.logging.every_seconds=0',
    ]


@pytest.fixture(scope='module')
def uninterrupted(flags, tmp_path_factory) -> Path:
    return train_undisturbed(flags, tmp_path_factory.mktemp('uninterrupted'))


@pytest.mark.parametrize(
    'name',
    [SIGNALS[0], *(pytest.param(x, marks=pytest.mark.slow) for x in SIGNALS[1:])],
)
def test_a_signal_in_a_long_epoch_leaves_a_checkpoint(
    name, flags, uninterrupted, tmp_path
):
    workdir = tmp_path / 'run'
    arguments = ('fmnist_jax.main', *flags, f'--workdir={workdir}')
    job = Job(tmp_path / 'log', *arguments)
    job.wait_until(lambda: 'epoch 1/2: step' in job.printed)
    job.send(name)
    assert job.code(timeout=30) == 75
    step = int(
        re.search(r'stopped after step (\d+), with a checkpoint', job.printed)[1]
    )
    assert 0 < step == last_step(workdir) < 860
    assert job.printed.splitlines()[-1].endswith('run the same command again to go on')
    assert 'Traceback' not in job.printed
    done = run_script(*arguments)
    assert done.returncode == 0, done.stderr
    assert f'resumed from {workdir}/checkpoints/{step}\n' in done.stdout
    assert_same_run(workdir, uninterrupted)


IN_A_TERMINAL = """
import os, sys
os.login_tty(0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def test_a_closed_terminal_leaves_a_checkpoint(flags, tmp_path):
    workdir = tmp_path / 'run'
    arguments = (*flags, '--config.num_epochs=20', f'--workdir={workdir}')
    command = (sys.executable, '-c', IN_A_TERMINAL, '-m', 'fmnist_jax.main', *arguments)
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, cwd=ROOT, stdin=theirs) as process:
        os.close(theirs)
        with open(ours, 'rb', buffering=0) as terminal:
            printed = b''
            while b'epoch 1/20:' not in printed:
                printed += terminal.read(4096)
        assert process.wait(30) == 75
    assert 0 < last_step(workdir) < 20 * 860


@pytest.mark.parametrize('name', SIGNALS)
def test_a_signal_before_training_ends_at_once(name, flags, tmp_path):
    workdir = tmp_path / 'run'
    # Compilation takes a second, even with a cache.
    job = Job(tmp_path / 'log', 'fmnist_jax.main', *flags, f'--workdir={workdir}')
    job.wait_until(lambda: 'devices: ' in job.printed)
    job.send(name)
    assert job.code(timeout=30) == 75
    assert 'Traceback' not in job.printed
    assert 'run the same command again to go on' in job.printed


@pytest.mark.slow
def test_a_second_signal_does_not_wait_and_loses_nothing(
    flags, uninterrupted, tmp_path
):
    workdir = tmp_path / 'run'
    # A call is an epoch, so that the first signal has to wait.
    call = '--config.steps_per_call=860'
    arguments = ('fmnist_jax.main', *flags, call, f'--workdir={workdir}')
    job = Job(tmp_path / 'log', *arguments)
    job.wait_until(lambda: last_step(workdir) == 860)
    job.send(signal.SIGTERM)
    job.wait_until(lambda: 'SIGTERM: stopping after a checkpoint' in job.printed)
    time.sleep(1.1)  # Before that, it is taken for the first once more.
    job.send(signal.SIGTERM)
    assert job.code(timeout=5) == 75
    assert 'stopped after step' not in job.printed
    assert last_step(workdir) == 860
    done = run_script(*arguments)
    assert done.returncode == 0, done.stderr
    assert f'resumed from {workdir}/checkpoints/860\n' in done.stdout
    assert_same_run(workdir, uninterrupted)


@pytest.mark.parametrize(
    'mapping',
    [
        'vmap',
        *(pytest.param(x, marks=pytest.mark.slow) for x in ('sequence', 'devices')),
    ],
)
def test_a_sweep_goes_on_from_where_its_runs_stood(mapping, flags, tmp_path):
    workdir, whole = tmp_path / 'grid', tmp_path / 'whole'
    # Enough that they have not ended when the signal comes, though it be late.
    num_epochs = 30 if mapping == 'devices' else 12
    arguments = (
        *('fmnist_jax.sweep', *flags, f'--mapping={mapping}'),
        '--grid=optimizer.learning_rate=0.01,0.02',
        '--config.model.name=linear',
        '--config.data.train_split=train[:9600]',
        f'--config.num_epochs={num_epochs}',
    )
    done = run_script(*arguments, f'--workdir={whole}')
    assert done.returncode == 0, done.stderr
    arguments += (f'--workdir={workdir}',)
    job = Job(tmp_path / 'log', *arguments)
    job.wait_until(lambda: list(workdir.glob('*/checkpoints/*/manifest.sha256')))
    job.send(signal.SIGTERM)
    assert job.code(timeout=30) == 75
    assert 'Traceback' not in job.printed
    members = [path.parent.name for path in whole.glob('*/metrics.jsonl')]
    assert len(members) == 2
    assert any(0 < last_step(workdir / member) < 300 * num_epochs for member in members)
    done = run_script(*arguments)
    assert done.returncode == 0, done.stderr
    assert 'resumed from' in done.stdout
    for member in members:
        assert_same_run(workdir / member, whole / member)
