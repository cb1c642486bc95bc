"""Several real processes train as one does, and stop, fail and go on together."""

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from fmnist_jax.errors import LostProcessError, UserError
from fmnist_jax.training import joining
from tests.conftest import ROOT, run_script
from tests.processes import Processes, free_port
from tests.whole_runs import (
    assert_same_but_for_rounding,
    assert_same_run,
    data_flags,
    last_step,
)

# Rounding of float64, after some hundred updates.
TOLERANCE = 1e-9
LONGER = '--config.num_epochs=4'
# The second process is seconds behind when all diverge.
LATE = """
import sys, time
import jax
from fmnist_jax import cli
from fmnist_jax.errors import DivergenceError
from fmnist_jax.training import hosts, joining
address, number = sys.argv.pop(1), int(sys.argv.pop(1))
def main():
    with joining.joined(address, 2, number):
        jax.devices()
        hosts.check_same('a start', 0)
        time.sleep(2 * number)
        raise DivergenceError('training diverged')
cli.run(main)
"""


@pytest.fixture(scope='module')
def teacher(data_dir: str, tmp_path_factory) -> Path:
    """The work folder of a linear model in float64."""
    workdir = tmp_path_factory.mktemp('teacher')
    done = run_script(
        *('fmnist_jax.main', '--config=configs/default.py', f'--workdir={workdir}'),
        f'--config.data.data_dir={data_dir}',
        '--config.data.train_split=train[:640]',
        '--config.data.validation_split=train[55000:55100]',
        '--config.model.name=linear',
        '--config.precision=float64',
        '--config.num_epochs=1',
    )
    assert done.returncode == 0, done.stderr
    return workdir


@pytest.fixture(scope='module')
def flags(data_dir: str, teacher: Path) -> list[str]:
    """All that several processes share or draw, in float64; 225 updates."""
    return [
        *data_flags(data_dir),
        '--config.model.name=tests.nets:DropoutNet',
        "--config.augmentation=({'name': 'pad_and_crop'},)",
        # Adam would turn the rounding of gradients that are 0 (of a bias before
        # BatchNorm) into steps of 1e-7.
        '--config.optimizer.name=sgd',
        '--config.optimizer.momentum=0.9',
        '--config.optimizer.learning_rate=0.01',
        '--config.gradient_accumulation=2',
        '--config.ema_decay=0.9',
        f'--config.distillation.teachers={teacher}',
        '--config.precision=float64',
        '--config.batch_size=64',
        '--config.num_epochs=3',
    ]


@pytest.fixture(scope='module')
def alone(flags, tmp_path_factory) -> Path:
    """The work folder of a run of one process with four devices, an epoch longer."""
    workdir = tmp_path_factory.mktemp('alone')
    done = run_script(
        *('fmnist_jax.main', *flags, f'--workdir={workdir}', LONGER),
        '--config.num_cpu_devices=4',
        '--config.checkpoint.keep_last=4',
    )
    assert done.returncode == 0, done.stderr
    return workdir


def start(flags: list[str], workdir: Path, *more: str) -> Processes:
    """Two processes with two devices each."""
    folder = workdir.parent / f'{workdir.name}-printed'
    own = ('--config.num_cpu_devices=2', f'--workdir={workdir}', *more)
    return Processes([*flags, *own], folder)


@pytest.fixture(scope='module')
def shared(flags, tmp_path_factory) -> Path:
    """The work folder of an undisturbed run of two processes with two devices each."""
    workdir = tmp_path_factory.mktemp('shared') / 'run'
    processes = start(flags, workdir)
    assert processes.codes() == [0, 0], processes.printed(0)
    # One writes, and tells.
    assert 'best validation accuracy' in processes.printed(0)
    assert 'epoch' not in processes.printed(1)
    return workdir


def test_two_processes_train_as_one_does(alone, shared):
    assert_same_but_for_rounding(shared, alone, TOLERANCE)


@pytest.mark.slow
def test_a_signal_to_one_stops_both_after_a_checkpoint(flags, shared, tmp_path):
    workdir = tmp_path / 'run'
    processes = start(flags, workdir)
    processes.wait_until(lambda: 'epoch 1/3: train' in processes.printed(0))
    processes.send(1, signal.SIGTERM)
    assert processes.codes(timeout=30) == [75, 75]
    for number in range(2):
        assert 'run the same command again' in processes.printed(number)
    assert 75 < last_step(workdir) < 225
    assert_go_on(flags, workdir, shared)


@pytest.mark.slow
def test_one_that_is_killed_ends_the_other(flags, shared, tmp_path):
    workdir = tmp_path / 'run'
    often = '--config.checkpoint.every_minutes=0.0025'
    processes = start(flags, workdir, often)
    processes.wait_until(lambda: last_step(workdir) > 0)
    processes.send(1, signal.SIGKILL)
    lost, killed = processes.codes(timeout=60)
    assert killed == -signal.SIGKILL
    # It notices by itself, or JAX's runtime aborts it.
    assert lost in (75, -signal.SIGABRT)
    if lost == 75:
        assert 'error: lost one of the 2 processes' in processes.printed(0)
        assert 'Traceback' not in processes.printed(0)
    assert_go_on(flags, workdir, shared)


def assert_go_on(flags: list[str], workdir: Path, shared: Path) -> None:
    """The same processes, started again, end as if nothing had been."""
    processes = start(flags, workdir)
    assert processes.codes() == [0, 0], processes.printed(0)
    assert 'resumed from' in processes.printed(0)
    assert_same_run(workdir, shared)


@pytest.mark.slow
@pytest.mark.parametrize('num_devices', [1, 8])
def test_a_checkpoint_of_four_devices_goes_on_with_others(
    num_devices, flags, shared, alone, tmp_path
):
    workdir = tmp_path / 'run'
    shutil.copytree(shared, workdir)
    more = (LONGER, f'--config.num_cpu_devices={num_devices}', f'--workdir={workdir}')
    done = run_script('fmnist_jax.main', *flags, *more)
    assert done.returncode == 0, done.stderr
    assert 'the devices are others than before' in done.stdout
    assert_same_but_for_rounding(workdir, alone, TOLERANCE)


def test_a_mistake_is_told_by_all_and_leaves_nothing(flags, tmp_path):
    workdir = tmp_path / 'run'
    processes = start(flags, workdir, '--config.batch_size=66')
    assert processes.codes() == [2, 2]
    for number in range(2):
        printed = processes.printed(number)
        assert 'batch_size 66, in 2 parts, does not divide evenly over the 4' in printed
        assert '64 or 72' in printed
        assert 'Traceback' not in printed
    assert not workdir.exists()


@pytest.mark.slow
def test_divergence_ends_all_and_the_first_says_what_is_kept(flags, tmp_path):
    workdir = tmp_path / 'run'
    # Every update doubles the parameters and turns them round: they overflow in the
    # second epoch.
    doubling = (
        '--config.model.name=linear',
        '--config.optimizer.learning_rate=0.1',
        '--config.optimizer.momentum=0.0',
        '--config.optimizer.weight_decay=30',
        '--config.precision=float32',
    )
    alone = [flag for flag in flags if 'teachers' not in flag]
    processes = start(alone, workdir, *doubling)
    assert processes.codes() == [3, 3], processes.printed(0)
    errors = [
        [x for x in processes.printed(number).splitlines() if x.startswith('error: ')]
        for number in range(2)
    ]
    steps = [
        int(
            re.match(r'error: training diverged: .* at step (\d+) \(epoch 2\)', line)[1]
        )
        for (line,) in errors
    ]
    assert steps[0] == steps[1]
    assert 75 < steps[0] < 150
    assert last_step(workdir) == 75
    assert 'the last good checkpoint is step 75. Try' in errors[0][0]
    assert 'the first process says which checkpoint is kept. Try' in errors[1][0]
    for number in range(2):
        assert 'Traceback' not in processes.printed(number)


def test_one_that_diverges_first_does_not_have_the_others_aborted():
    address = f'localhost:{free_port()}'
    processes = [
        subprocess.Popen(
            [sys.executable, '-c', LATE, address, str(number)],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    printed = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [3, 3], printed
    for text in printed:
        assert text.splitlines()[-1] == 'error: training diverged'


def test_a_signal_stops_one_process_that_has_joined(flags, tmp_path):
    # JAX notices SIGTERM there, as on a single TPU host.
    workdir = tmp_path / 'run'
    processes = Processes(
        [*flags, '--config.num_cpu_devices=2', f'--workdir={workdir}'],
        tmp_path / 'printed',
        num_processes=1,
    )
    processes.wait_until(lambda: 'epoch 1/3: train' in processes.printed(0))
    processes.send(0, signal.SIGTERM)
    assert processes.codes(timeout=30) == [75]
    stopped = re.search(
        r'stopped after step (\d+), with a checkpoint; run the same command again',
        processes.printed(0),
    )
    assert 75 <= int(stopped[1]) == last_step(workdir) < 225
    assert 'Traceback' not in processes.printed(0)


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ((None, 2, 0), '--coordinator_address is missing'),
        (('localhost:1', None, 0), '--num_processes is missing'),
        (('localhost:1', 2, None), '--process_id is missing'),
        (('localhost', 2, 0), 'must be HOST:PORT'),
        (('localhost:1', 2, 2), 'from 0 to --num_processes - 1, not 2 of 2'),
        (('localhost:1', 0, 0), 'not 0 of 0'),
        (('localhost:1', 2, -1), 'not -1 of 2'),
    ],
)
def test_flags_that_do_not_fit_together_are_told(values, message):
    with pytest.raises(UserError, match=message), joining.joined(*values):
        pass


@pytest.mark.parametrize('text', ['Gloo all-reduce failed', 'UNAVAILABLE: gone'])
def test_a_collective_that_fails_is_a_lost_process(text, monkeypatch):
    monkeypatch.setattr(jax, 'process_count', lambda: 2)
    match = 'lost one of the 2 processes .* Start all of them again'
    with pytest.raises(LostProcessError, match=match) as caught, joining.joined():
        raise jax.errors.JaxRuntimeError(text)
    assert caught.value.exit_code == 75


def test_another_failure_of_the_runtime_is_not_a_lost_process(monkeypatch):
    monkeypatch.setattr(jax, 'process_count', lambda: 2)
    with pytest.raises(jax.errors.JaxRuntimeError, match='NaN'), joining.joined():
        raise jax.errors.JaxRuntimeError('INTERNAL: NaN')
