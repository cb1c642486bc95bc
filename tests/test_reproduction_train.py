"""How the rows of the five projects are run, and what is kept of them."""

import dataclasses
import fcntl
import json
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.errors import UserError
from results import keep, runner
from results.reproduction import runs as runs_lib
from results.reproduction import train
from results.reproduction.recipes import RECIPES
from tests.conftest import ROOT, run_script
from tests.jobs import Job
from tests.kept_runs import SEEDS, edit
from tests.reproducing import BY_NAME, TINY
from tests.whole_runs import last_step

COMMIT = 40 * 'a'


@pytest.fixture
def clean(monkeypatch):
    """Whatever is being changed in the checkout."""
    monkeypatch.setattr(runner, '_is_clean_commit', lambda commit: True)


def test_rows_are_run_kept_and_not_run_again(clean, tmp_path, capfd):
    workdir, runs = tmp_path / 'work', tmp_path / 'runs'
    recipe = dataclasses.replace(
        TINY, num_seeds=1, evaluated_at='last', overrides={**TINY.overrides}
    )
    assert train.run([recipe], workdir, runs) == []
    folder = runs / runs_lib.GROUP / 'tiny' / 'seed0'
    assert {path.name for path in folder.iterdir()} == {*keep.FILES, 'eval'}
    config = json.loads((folder / 'config.json').read_text())
    assert (config['model']['name'], config['num_epochs']) == ('linear', 2)
    metrics = json.loads((folder / 'eval' / 'test' / 'metrics.json').read_text())
    assert metrics['checkpoint_step'] == 40
    capfd.readouterr()
    # The work folder is not even looked at.
    shutil.rmtree(workdir)
    assert train.run([recipe], workdir, runs) == []
    assert not workdir.exists()
    assert '0 of 0 runs are done' in capfd.readouterr().out
    assert '1 of 1' in train.summary([recipe], runs)


@pytest.fixture
def begun(tmp_path, monkeypatch) -> Path:
    """The work folder of a run of TINY that is done, and the checkout clean."""
    folder = tmp_path / 'work' / 'tiny' / 'seed0'
    shutil.copytree(SEEDS / 'seed0', folder)
    monkeypatch.setattr(runner, '_run', lambda *arguments: None)
    monkeypatch.setattr(runner, 'git_commit', lambda: COMMIT)
    return folder


@pytest.mark.parametrize(
    ('commits', 'is_kept'),
    [
        ([COMMIT], True),
        ([COMMIT, COMMIT, COMMIT], True),
        ([f'{COMMIT}-dirty'], False),
        ([COMMIT, f'{COMMIT}-dirty'], False),
        ([COMMIT, f'{COMMIT}-dirty', COMMIT], False),
        ([COMMIT, None], False),
    ],
)
def test_only_what_was_committed_throughout_is_kept(
    commits, is_kept, begun, tmp_path, capfd
):
    started, *later = commits
    resumed = [{'step': 1, 'git_commit': commit} for commit in later]
    edit(begun / 'provenance.json', git_commit=started, resumed=resumed)
    recipe, runs = dataclasses.replace(TINY, num_seeds=1), tmp_path / 'runs'
    failed = train.run([recipe], tmp_path / 'work', runs)
    assert failed == ([] if is_kept else ['tiny/seed0'])
    assert (runs / runs_lib.GROUP / 'tiny' / 'seed0').exists() == is_kept
    told = capfd.readouterr().out
    assert (f'{begun} was run with changes' in told) == (not is_kept)
    assert ('remove that folder' in told) == (not is_kept)


def test_nothing_is_kept_with_allow_dirty(begun, tmp_path, capfd):
    recipe, runs = dataclasses.replace(TINY, num_seeds=1), tmp_path / 'runs'
    failed = train.run([recipe], tmp_path / 'work', runs, allow_dirty=True)
    assert failed == []
    assert not runs.exists()
    assert 'not kept: --allow-dirty' in capfd.readouterr().out


def test_the_checkout_is_checked_before_each_run(begun, tmp_path, monkeypatch, capfd):
    commits = iter((COMMIT, f'{COMMIT}-dirty'))
    monkeypatch.setattr(runner, 'git_commit', lambda: next(commits))
    assert train.run([TINY], tmp_path / 'work', tmp_path / 'runs') == ['tiny/seed1']
    assert (tmp_path / 'runs' / runs_lib.GROUP / 'tiny' / 'seed0').exists()
    assert not begun.with_name('seed1').exists()
    assert 'changes that are not committed' in capfd.readouterr().out


def test_a_run_that_diverges_is_kept_and_the_others_go_on(clean, tmp_path, capfd):
    workdir, runs = tmp_path / 'work', tmp_path / 'runs'
    overrides = {**TINY.overrides, 'optimizer.learning_rate': 1e38}
    bad = dataclasses.replace(TINY, name='bad', num_seeds=1, overrides=overrides)
    unknown = dataclasses.replace(
        TINY, name='unknown', num_seeds=1, overrides={'no_such_field': 1}
    )
    assert train.run([unknown, bad], workdir, runs) == ['unknown/seed0']
    assert "unknown config field: 'no_such_field'" in capfd.readouterr().err
    (kept,) = runs_lib.read_recipe(runs, bad)
    assert kept.diverged
    assert 'training diverged' in kept.others[workdir_lib.DIVERGENCE]['message']
    assert not (runs / runs_lib.GROUP / 'unknown').exists()


@pytest.mark.parametrize(
    ('name', 'code', 'is_of_the_command'),
    [
        (signal.SIGTERM, 128 + signal.SIGTERM, False),
        pytest.param(signal.SIGINT, 130, False, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 130, True, marks=pytest.mark.slow),
    ],
)
def test_a_signal_leaves_a_checkpoint(name, code, is_of_the_command, tmp_path):
    folder = tmp_path / 'tinyvgg_sgd' / 'seed0'
    arguments = ('tinyvgg_sgd', f'--workdir={tmp_path}', '--allow-dirty')
    arguments += (f'--runs={tmp_path / "runs"}',)
    job = Job(tmp_path / 'log', 'results.reproduction', *arguments)
    job.wait_until(lambda: 'epoch 1/3: train loss' in job.printed)
    if is_of_the_command:
        (command,) = children(job.pid)
        os.kill(command, name)
    else:
        job.send(name)
    assert job.code(timeout=30) == code
    assert 'Traceback' not in job.printed
    step = int(re.search(r'stopped after step (\d+), with', job.printed)[1])
    assert 1875 <= step == last_step(folder) < 5625
    # The next run was not begun.
    assert [path.name for path in folder.parent.iterdir()] == ['seed0']


def children(pid: int) -> list[int]:
    text = Path(f'/proc/{pid}/task/{pid}/children').read_text()
    return [int(word) for word in text.split()]


def test_a_range_test_that_diverges_is_not_kept_and_the_others_go_on(
    clean, tmp_path, monkeypatch, capfd
):
    """It should stop by itself; a division by its figures would fail later."""
    diverged = runner._Diverged('training diverged')

    def call(command: tuple[str, ...], locks: tuple[int, ...]) -> None:
        if command[0] == 'fmnist_jax.lr_range_test':
            raise diverged
        folder = Path(command[-1].removeprefix('--workdir='))
        shutil.copytree(SEEDS / 'seed0', folder, dirs_exist_ok=True)

    monkeypatch.setattr(runner, '_call', call)
    test = dataclasses.replace(TINY, name='test', num_seeds=1, script='lr_range_test')
    after = dataclasses.replace(TINY, num_seeds=1)
    runs = tmp_path / 'runs'
    assert train.run([test, after], tmp_path / 'work', runs) == ['test/seed0']
    assert 'test/seed0 is not done: ' in capfd.readouterr().out
    assert [path.name for path in (runs / runs_lib.GROUP).iterdir()] == ['tiny']


def test_what_another_process_works_on_is_left_to_it(clean, tmp_path, capfd):
    folder = tmp_path / 'work' / 'tiny' / 'seed0'
    folder.mkdir(parents=True)
    recipe = dataclasses.replace(TINY, num_seeds=1)
    with (folder / '.reproduce.lock').open('w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        failed = train.run([recipe], tmp_path / 'work', tmp_path / 'runs')
    assert failed == ['tiny/seed0']
    assert 'another process is at work' in capfd.readouterr().out
    assert [path.name for path in folder.iterdir()] == ['.reproduce.lock']


def test_commands_are_those_of_the_row():
    recipe = BY_NAME['bn_cnn-500-0.001']
    first, *_ = train.commands(recipe, 3, Path('/work'), Path('/data'))
    assert first == (
        'fmnist_jax.main',
        '--config=configs/seeds/bn_cnn.py',
        '--config.batch_size=500',
        '--config.optimizer.learning_rate=0.001',
        '--config.seed=3',
        '--workdir=/work',
    )
    recipe = BY_NAME['keras_cnns-arch2_sound']
    first = next(train.commands(recipe, 0, Path('/work'), Path('/data')))
    assert '--config=configs/seeds/keras_cnns.py:arch2_sound' in first
    assert '--config.data.idx_dir=/data/grouped' in first
    # What is kept of a run is of use elsewhere.
    first = next(train.commands(recipe, 0, Path('/work'), ROOT / 'runs' / 'data'))
    assert '--config.data.idx_dir=runs/data/grouped' in first
    recipe = BY_NAME['keras_tinyvgg-lr_range_test']
    (only,) = train.commands(recipe, 0, Path('/work'), Path('/data'))
    assert only[0] == 'fmnist_jax.lr_range_test'
    # Of 50 epochs from 0, each 10^(1/20) times the rate of the one before.
    rates = np.geomspace(1e-4, float(dict(a.split('=') for a in only[1:])['--max']), 50)
    np.testing.assert_allclose(rates, 1e-4 * 10 ** (np.arange(50) / 20))


def test_all_rows_that_can_be_run_are_by_default():
    not_run = {recipe.name for recipe in RECIPES if recipe.not_run}
    assert not_run == {'keras_cnns-vgg_like_leaking-80_epochs'}
    assert {recipe.name for recipe in train.find([])} == BY_NAME.keys() - not_run
    with pytest.raises(UserError, match="unknown row 'bn_cn'"):
        train.find(['bn_cn'])
    twice = train.find(['linear', 'tinyvgg_sgd', 'linear'])
    assert [recipe.name for recipe in twice] == ['linear', 'tinyvgg_sgd']


def test_nothing_is_run_from_a_checkout_with_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, 'git_commit', lambda: f'{COMMIT}-dirty')
    arguments = ['reproduce', 'linear', f'--workdir={tmp_path / "work"}']
    monkeypatch.setattr(sys, 'argv', arguments)
    with pytest.raises(SystemExit, match='not committed'):
        train.main()
    assert not (tmp_path / 'work').exists()


@pytest.mark.parametrize(
    ('arguments', 'part'),
    [
        (('linear',), '--workdir is missing'),
        (('linaer', '--list'), "unknown row 'linaer'; did you mean 'linear'"),
        (('linear', '--workdir=LICENSE'), 'cannot write to'),
        (('linear', '--workdir=/proc/x'), 'cannot write to /proc/x'),
        (('linear', '--workdir=OUT', '--runs=LICENSE'), 'choose other --runs'),
    ],
)
def test_mistakes_are_told(arguments, part, tmp_path, monkeypatch, capsys):
    arguments = [argument.replace('OUT', str(tmp_path)) for argument in arguments]
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, 'argv', ['reproduce', *arguments])
    with pytest.raises(SystemExit) as caught:
        train.main()
    # A text as the exit code is printed, and 1.
    told = caught.value.code
    if told == 2:
        told = capsys.readouterr().err
    assert part in told
    assert len(told.splitlines()) == 1


def test_the_list_says_what_is_missing(tmp_path):
    folder = tmp_path / runs_lib.GROUP / 'linear' / 'seed1'
    shutil.copytree(SEEDS / 'seed1', folder)
    done = run_script('results.reproduction', 'linear', '--list', f'--runs={tmp_path}')
    assert (done.returncode, done.stderr) == (0, '')
    *_, line = done.stdout.splitlines()
    assert re.fullmatch(r'linear +S2 +1 of 5 +0 2 3 4 +[\d.]+ s', line)
