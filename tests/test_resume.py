"""Runs that are killed at any moment end as an uninterrupted one does, bit for bit."""

import subprocess
from pathlib import Path

import pytest

from tests.conftest import run_script
from tests.killing import WRITING, Killer, make_flags
from tests.whole_runs import assert_same_run, last_step, train_undisturbed


@pytest.fixture(scope='module')
def flags(data_dir: str) -> list[str]:
    """See `make_flags`."""
    return make_flags(data_dir)


@pytest.fixture(scope='module')
def uninterrupted(flags, tmp_path_factory) -> Path:
    """The work folder of a run that nobody disturbed."""
    return train_undisturbed(flags, tmp_path_factory.mktemp('uninterrupted'))


@pytest.mark.parametrize(
    'times', [1, pytest.param(5, marks=pytest.mark.slow)], ids='{0}_times'.format
)
def test_kills_change_nothing(times, flags, uninterrupted, tmp_path, capsys):
    workdir = tmp_path / 'run'
    killer = Killer(flags, workdir)
    killer.before_training()
    for _ in range(times):
        killer.after_checkpoint()
        killer.while_writing()
    # A checkpoint takes milliseconds: some kills come after it.
    for _ in range(5):
        if WRITING not in killer.phases:
            killer.while_writing()
    with capsys.disabled():
        for number, phase in enumerate(killer.phases, 1):
            print(f'\nkill {number}: {phase}', end='')
    after = killer.phases.count('after a checkpoint')
    writing = killer.phases.count(WRITING)
    assert len(killer.phases) >= 1 + 2 * times
    assert after + writing > times
    assert writing >= min(times, 2)
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
