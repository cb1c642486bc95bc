"""How the rows of results/frontier/rows.py are run, scored and kept."""

import dataclasses
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fmnist_jax.errors import UserError
from results import keep, runner
from results.frontier import train
from results.frontier.rows import Row
from results.frontier.runs import GROUP, read_row
from results.frontier.train import Place
from tests import frontier_rows as fake
from tests.conftest import ROOT, run_script
from tests.kept_runs import edit
from tests.mistakes import assert_fails
from tests.test_frontier_rows import BY_NAME

SCORES = {'split': 'test', 'accuracy': 0.5, 'loss': 0.1, 'checkpoint_step': 1}


@pytest.fixture
def rows(monkeypatch, tmp_path):
    """Small rows, and whatever is being changed in the checkout; it keeps elsewhere."""
    fake.use(monkeypatch)
    monkeypatch.setattr(keep, 'RUNS', tmp_path / 'runs')
    monkeypatch.setattr(runner, '_is_clean_commit', lambda commit: True)


@pytest.fixture
def committed(monkeypatch) -> list[Path]:
    """What is taken for committed: trials that are kept."""
    asked = []

    def is_committed(path: Path) -> bool:
        asked.append(path)
        return path.exists()

    monkeypatch.setattr(train, 'is_committed', is_committed)
    return asked


@pytest.fixture
def commands(monkeypatch) -> list[tuple[str, ...]]:
    """The commands that would be run; they leave what real ones do, as far as read."""
    called = []

    def call(command, lock):
        called.append(command)
        options = dict(part[2:].split('=', 1) for part in command if '=' in part)
        folder = ROOT / options['workdir']
        script = command[0].removeprefix('fmnist_jax.')
        if script == 'main':
            source = fake.SEEDS / 'seed0'
            for name in keep.FILES:
                shutil.copyfile(source / name, folder / name)
            return
        views = '-flip' if '--views=flip' in command else ''
        target = folder / 'eval' / (options['split'] + views)
        target.mkdir(parents=True, exist_ok=True)
        scores = {**SCORES, 'split': options['split'], 'accuracy': 0.9}
        name = 'robustness' if script == 'robustness' else 'metrics'
        (target / f'{name}.json').write_text(json.dumps(scores))
        if script == 'ensemble':
            (folder / 'ensemble.json').write_text('{}')

    monkeypatch.setattr(runner, '_call', call)
    return called


def test_a_row_is_trained_scored_and_kept(rows, committed, commands, tmp_path):
    workdir, runs = tmp_path / 'work', tmp_path / 'runs'
    small = [fake.TRIAL, fake.SCORED, fake.VIEWS, fake.ENSEMBLE]
    assert train.run(small, workdir, runs) == []
    scripts = [command[0].removeprefix('fmnist_jax.') for command in commands]
    scored = ['main', 'evaluate', 'robustness', 'evaluate']
    # An ensemble after the last of its members.
    assert scripts == ['main', *3 * scored, 'ensemble']
    assert commands[0][1] == '--config=configs/seeds/linear.py'
    assert '--config.data.train_split=train[:640]' in commands[0]
    assert commands[2][-2:] == ('--split=test', '--calibrate')
    members = ','.join(str(workdir / 'a' / f'seed{seed}') for seed in range(3))
    assert f'--members={members}' in commands[-1]
    kept = {
        str(path.relative_to(runs / GROUP))
        for path in runs.rglob('*.json')
        if path.name in ('metrics.json', 'robustness.json', 'ensemble.json')
    }
    expected = {
        'a-ensemble/seed0/ensemble.json',
        'a-ensemble/seed0/eval/test/metrics.json',
    }
    for seed in range(3):
        expected |= {
            f'a/seed{seed}/eval/test/metrics.json',
            f'a/seed{seed}/eval/test/robustness.json',
            f'a-flip/seed{seed}/eval/test-flip/metrics.json',
        }
    assert kept == expected
    commands.clear()
    assert train.run(small, workdir, runs) == []
    assert commands == []


def test_the_test_set_is_scored_once(rows, committed, commands, tmp_path):
    """A run that was scored before it was kept is not scored again."""
    workdir, runs = tmp_path / 'work', tmp_path / 'runs'
    assert train.run([fake.TRIAL], workdir, runs) == []
    scores = workdir / 'a' / 'seed1' / 'eval' / 'test'
    scores.mkdir(parents=True)
    (scores / 'metrics.json').write_text(json.dumps(SCORES))
    assert train.run([fake.SCORED], workdir, runs) == []
    evaluated = [
        command[1] for command in commands if command[0] == 'fmnist_jax.evaluate'
    ]
    assert evaluated == [f'--workdir={workdir / "a" / f"seed{s}"}' for s in (0, 2)]
    kept = read_row(runs, fake.SCORED)
    assert [one.test for one in kept.values()] == [0.9, 0.5, 0.9]


def test_nothing_is_scored_before_the_choice_is_committed(
    rows, commands, tmp_path, capfd
):
    workdir, runs = tmp_path / 'work', tmp_path / 'runs'
    failed = train.run([fake.TRIAL, fake.SCORED], workdir, runs)
    assert failed == ['a/seed0', 'a/seed1', 'a/seed2']
    # The trial's: kept, but in no commit.
    assert len(commands) == 1
    told = capfd.readouterr().out
    assert 'the test set is not touched before a-trial' in told
    assert str(runs / 'frontier' / 'a-trial' / 'seed0' / 'metrics.jsonl') in told


@pytest.mark.usefixtures('rows', 'committed', 'commands')
def test_nothing_is_scored_before_all_trials_are_there_and_none_is_better(
    tmp_path, monkeypatch, capfd
):
    other = dataclasses.replace(fake.TRIAL, name='a-trial-other')
    monkeypatch.setattr(train, 'ROWS', (*fake.ROWS, other))
    workdir, runs = tmp_path / 'work', tmp_path / 'runs'
    scored = dataclasses.replace(fake.SCORED, num_seeds=1)
    assert train.run([fake.TRIAL, scored], workdir, runs) == ['a/seed0']
    assert 'not touched before a-trial-other' in capfd.readouterr().out
    assert train.run([other], workdir, runs) == []
    # Equally good: the chosen one stands.
    train.check_chosen(scored)
    path = runs / GROUP / other.name / 'seed0' / 'metrics.jsonl'
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[-1]['accuracy'] = 0.999
    path.write_text(''.join(f'{json.dumps(line)}\n' for line in lines))
    assert train.run([scored], workdir, runs) == ['a/seed0']
    assert 'a-trial-other is better on validation' in capfd.readouterr().out
    assert not (workdir / 'a' / 'seed0' / 'eval').exists()


@pytest.mark.usefixtures('rows', 'committed')
def test_a_row_is_measured_again_elsewhere(commands, tmp_path, monkeypatch, capfd):
    """What is kept is not run again, but beside it: the choice stands as committed."""
    runs, again = tmp_path / 'runs', tmp_path / 'again'
    assert train.run([fake.TRIAL, fake.SCORED], tmp_path / 'work', runs) == []
    for seed in range(3):
        scores = runs / GROUP / 'a' / f'seed{seed}' / 'eval' / 'test' / 'metrics.json'
        edit(scores, accuracy=0.8)
    commands.clear()
    assert train.run([fake.SCORED], tmp_path / 'work', runs) == []
    assert not commands
    assert '3 of 3 runs are kept, and are not run again' in capfd.readouterr().out
    assert train.run([fake.SCORED], tmp_path / 'work-again', again) == []
    assert [command[0] for command in commands].count('fmnist_jax.evaluate') == 3
    measured = [
        [one.test for one in read_row(folder, fake.SCORED).values()]
        for folder in (runs, again)
    ]
    assert measured == [3 * [0.8], 3 * [0.9]]
    # No trial is committed where trials are.
    monkeypatch.setattr(keep, 'RUNS', tmp_path / 'none')
    assert len(train.run([fake.SCORED], tmp_path / 'w', tmp_path / 'r')) == 3


def test_committed_is_what_git_says(tmp_path, monkeypatch):
    assert train.is_committed(ROOT / 'LICENSE')
    assert not train.is_committed(ROOT / 'no_such_file')
    assert not train.is_committed(tmp_path)

    def git(*arguments: str) -> None:
        settings = ('-c', 'user.name=a', '-c', 'user.email=a@b')
        subprocess.run(
            ('git', *settings, *arguments),
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )

    monkeypatch.setattr(train, 'ROOT', tmp_path)
    path = tmp_path / 'metrics.jsonl'
    path.write_text('')
    git('init')
    assert not train.is_committed(path)
    git('add', '.')
    assert not train.is_committed(path)
    git('commit', '-m', 'x')
    assert train.is_committed(path)


@pytest.mark.usefixtures('rows', 'committed')
def test_what_was_run_with_changes_is_not_scored(
    commands, tmp_path, monkeypatch, capfd
):
    workdir, runs = tmp_path / 'work', tmp_path / 'runs'
    assert train.run([fake.TRIAL], workdir, runs) == []
    commands.clear()
    clean = runner.git_commit()
    monkeypatch.setattr(runner, '_is_clean_commit', lambda commit: commit == clean)
    assert len(train.run([fake.SCORED], workdir, runs)) == 3
    assert {command[0] for command in commands} == {'fmnist_jax.main'}
    assert 'was run with changes that are not committed' in capfd.readouterr().out


def test_nothing_is_scored_on_test_or_kept_with_allow_dirty(
    rows, commands, tmp_path, capfd
):
    workdir, runs = tmp_path / 'work', tmp_path / 'runs'
    small = [fake.SCORED, fake.BASE, fake.MIRRORED]
    assert train.run(small, workdir, runs, allow_dirty=True) == []
    assert not runs.exists()
    assert not any('--split=test' in command for command in commands)
    assert sum('--split=validation' in command for command in commands) == 3
    assert 'not scored on the test set' in capfd.readouterr().out


def test_a_student_waits_for_its_teacher(rows, commands, tmp_path, capfd):
    workdir, runs = tmp_path / 'work', tmp_path / 'runs'
    failed = train.run([fake.TAUGHT], workdir, runs)
    assert failed == [f'taught/seed{seed}' for seed in range(3)]
    assert 'run the row base first' in capfd.readouterr().out
    assert not commands
    assert train.run([fake.BASE, fake.TAUGHT], workdir, runs) == []
    teacher = workdir / 'base' / 'seed2'
    assert f"--config.distillation.teachers=('{teacher}',)" in commands[-1]
    # Kept, but its work folder is gone, or is not trained to its end.
    shutil.rmtree(runs / 'frontier' / 'taught')
    edit(teacher / 'config.json', num_epochs=99)
    shutil.rmtree(workdir / 'base' / 'seed1')
    assert train.run([fake.TAUGHT], workdir, runs) == [
        'taught/seed1',
        'taught/seed2',
    ]
    told = capfd.readouterr().out
    assert f'{teacher} is not trained to its end' in told
    assert 'in the same --workdir and with another --runs' in told


def test_rows_that_need_an_accelerator_are_left_out_without_one(
    rows, commands, tmp_path, monkeypatch, capfd
):
    workdir, runs = tmp_path / 'work', tmp_path / 'runs'
    monkeypatch.setattr(train, 'has_accelerator', lambda: False)
    with pytest.raises(UserError, match='large: needs an accelerator'):
        train.run([fake.LARGE], workdir, runs)
    assert train.run([fake.LARGE, fake.BASE], workdir, runs) == []
    assert len(commands) == 3
    assert 'left out, for they need an accelerator' in capfd.readouterr().out
    monkeypatch.setattr(train, 'has_accelerator', lambda: True)
    assert train.run([fake.LARGE], workdir, runs) == []
    assert len(commands) == 6


def test_paths_in_the_checkout_are_told_from_its_root(rows):
    place = Place(ROOT / 'runs' / 'frontier', ROOT / 'results' / 'runs')
    command = train.training(fake.TAUGHT, 1, place)
    assert command[-1] == '--workdir=runs/frontier/taught/seed1'
    assert "--config.distillation.teachers=('runs/frontier/base/seed1',)" in command
    (flip,) = train.scoring(fake.MIRRORED, 1, place)
    assert flip[1:] == (
        '--workdir=runs/frontier/base/seed1',
        '--split=validation',
        '--views=flip',
    )


@pytest.mark.slow
def test_a_real_run_is_judged_on_validation(rows, tmp_path):
    workdir, runs = tmp_path / 'work', tmp_path / 'runs'
    fake_rows = [
        Row(**{**vars(row), 'num_seeds': 1}) for row in (fake.BASE, fake.MIRRORED)
    ]
    assert train.run(fake_rows, workdir, runs) == []
    base, mirrored = (read_row(runs, row)[0] for row in (fake.BASE, fake.MIRRORED))
    assert base.run.epochs == 2
    assert base.test is mirrored.test is None
    assert base.validation == base.run.best['accuracy']
    matrix = mirrored.scores['confusion_matrix']
    hits = sum(line[i] for i, line in enumerate(matrix))
    assert mirrored.validation == hits / 500
    assert not list(workdir.rglob('eval/test*'))


@pytest.mark.slow
def test_a_real_recipe_from_its_trial_to_its_ensemble(rows, committed, tmp_path):
    workdir, runs = tmp_path / 'work', tmp_path / 'runs'
    assert train.run(fake.ROWS[:-1], workdir, runs) == []
    scored = read_row(runs, fake.SCORED)
    assert len(scored) == 3
    for one in scored.values():
        assert one.scores['checkpoint_step'] == one.run.best['step']
        assert one.scores['num_examples'] == one.robustness['num_examples'] == 500
        assert one.test == one.robustness['clean_accuracy']
        assert one.scores['calibration']['temperature'] > 0
    (ensemble,) = read_row(runs, fake.ENSEMBLE).values()
    assert len(ensemble.scores['members']) == 3
    assert ensemble.num_parameters == 3 * scored[0].num_parameters
    for seed, one in read_row(runs, fake.TAUGHT).items():
        (teacher,) = one.run.provenance['teachers']
        assert teacher['workdir'] == str(workdir / 'base' / f'seed{seed}')
    for one in read_row(runs, fake.VIEWS).values():
        assert one.scores['views'] == 'flip'


@pytest.mark.parametrize(
    ('arguments', 'part'),
    [
        (('tiny', '--lst'), 'unrecognized arguments: --lst; see --help'),
        (('tny', '--list'), "unknown row 'tny'; did you mean 'tiny'"),
        (('tiny', '--workdir=LICENSE'), 'cannot write to'),
        (('tiny', '--workdir=OUT', '--runs=LICENSE'), 'choose other --runs'),
        (
            ('resnet20', '--workdir=OUT', '--runs=OUT', '--allow-dirty'),
            'resnet20: needs an accelerator',
        ),
    ],
)
def test_mistakes_are_told(arguments, part, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train, 'has_accelerator', lambda: False)
    monkeypatch.chdir(ROOT)
    arguments = [argument.replace('OUT', str(tmp_path)) for argument in arguments]
    monkeypatch.setattr(sys, 'argv', ['frontier', *arguments])
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stopped:
        train.main()
    signal.signal(signal.SIGTERM, handler)
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('error: ')
    assert part in line


def test_a_mistake_at_the_command_line():
    assert_fails(run_script('results.frontier', 'tny'), '--workdir is missing')


def test_the_list_says_what_is_missing(tmp_path):
    fake.put(tmp_path, BY_NAME['tiny'], 1)
    done = run_script('results.frontier', 'tiny', '--list', f'--runs={tmp_path}')
    assert (done.returncode, done.stderr) == (0, '')
    *_, line = done.stdout.splitlines()
    assert re.fullmatch(r'tiny +test +cpu +1 of 3 +0 2 +[\d.]+ s', line)
