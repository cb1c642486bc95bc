"""How the rows of results/frontier/rows.py are run, scored and kept."""

import dataclasses
import importlib
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags
from ml_collections import ConfigDict, config_flags

from configs.frontier import small
from fmnist_jax import config as config_lib
from fmnist_jax.errors import UserError
from fmnist_jax.models import create_model
from fmnist_jax.models.compact import Compact
from results import keep, runner
from results.frontier import train
from results.frontier.rows import ACCELERATOR, GOALS, ROWS, Row
from results.frontier.runs import GROUP, read_row, source
from results.frontier.train import Place
from tests import frontier_rows as fake
from tests.conftest import ROOT, run_script
from tests.kept_runs import edit
from tests.test_bad_input import assert_fails

BY_NAME = {row.name: row for row in ROWS}
SCORES = {'split': 'test', 'accuracy': 0.5, 'loss': 0.1, 'checkpoint_step': 1}
TRAINED = [row for row in ROWS if row.config]


def config_of(row: Row) -> ConfigDict:
    """As the command line makes it."""
    path, *variant = row.config.split(':')
    module = importlib.import_module(f'configs.{path.replace("/", ".")}')
    config = module.get_config(*variant)
    config.update_from_flattened_dict(dict(row.overrides))
    return config


def test_names_of_rows_are_names_of_folders_of_their_own():
    assert len(BY_NAME) == len(ROWS)
    assert all(re.fullmatch(r'[\w.-]+', name) for name in BY_NAME)


@pytest.mark.parametrize('row', TRAINED, ids=lambda row: row.name)
def test_a_row_fits_its_config(row):
    config = config_of(row)
    config_lib.validate(config)
    assert (config.data.train_split, config.data.validation_split) == (
        'train[:55000]',
        'train[55000:]',
    )
    assert not config.distillation.teachers  # The runner names them.


# ml_collections loads the config file so.
@pytest.mark.filterwarnings('ignore:the load_module:DeprecationWarning')
@pytest.mark.parametrize('row', TRAINED, ids=lambda row: row.name)
def test_the_command_line_makes_the_config_of_a_row(row, monkeypatch):
    place = Place(ROOT / 'runs', ROOT / 'results' / 'runs')
    _, *arguments = train.training(row, 1, place)
    monkeypatch.chdir(ROOT)
    # ml_collections looks there for the fields that are set.
    monkeypatch.setattr(sys, 'argv', ['main', *arguments])
    values = flags.FlagValues()
    config_flags.DEFINE_config_file('config', flag_values=values)
    flags.DEFINE_string('workdir', None, '', flag_values=values)
    values(sys.argv)
    expected = config_of(row)
    expected.seed = 1
    expected.distillation.teachers = tuple(
        f'runs/{name}/seed1' for name in row.teachers
    )
    made = config_lib.to_dict(values.config)
    assert made == config_lib.to_dict(expected)


@pytest.mark.parametrize(('text', 'seed'), [('tiny-flip', 1), ('tiny-flip+2', 3)])
def test_a_source_is_of_the_same_seed_or_a_larger_one(text, seed):
    row, found = source(text, 1)
    assert (row.name, found) == ('tiny-flip', seed)


@pytest.mark.parametrize('row', ROWS, ids=lambda row: row.name)
def test_a_row_names_rows_that_come_before_it(row):
    before = ROWS[: ROWS.index(row)]
    for name in row.sources:
        for seed in range(row.num_seeds):
            other, other_seed = source(name, seed)
            assert other in before
            assert other.config
            assert other_seed < other.num_seeds
    kinds = (bool(row.config), bool(row.members), bool(row.runs_of))
    assert sum(kinds) == 1
    assert row.config or row.split == 'test' or row.compared_with
    # Corrupted images are scored by a model of its own.
    assert row.config or not row.is_robustness_scored


@pytest.mark.parametrize('row', ROWS, ids=lambda row: row.name)
def test_what_is_scored_on_test_was_chosen_on_validation(row):
    assert row.is_scored == bool(row.chosen_from)
    assert not (row.is_scored and row.trial_of)
    if not row.is_scored:
        return
    trial = BY_NAME[row.chosen_from]
    assert not trial.is_scored
    assert trial.needs == row.needs
    if row.config:
        assert trial.trial_of == row.name
        assert trial.teachers == row.teachers
        assert (trial.config, trial.overrides) == (row.config, row.overrides)


def test_ablations_change_what_they_say():
    # What configs leave to the model.
    names = ('expansion', 'squeeze_excite')
    left = {f'model.{name}': getattr(Compact, name) for name in names}
    for row in [row for row in ROWS if row.compared_with and row.config]:
        beside = BY_NAME[row.compared_with]
        assert BY_NAME[row.compared_with].num_seeds >= row.num_seeds
        before, now = (
            config_lib.flatten(config_lib.to_dict(config_of(one)))
            for one in (beside, row)
        )
        before = {**left, **before}
        changed = {field for field in now if now[field] != before[field]}
        expected = row.overrides.keys() - beside.overrides.keys()
        if row.name == 'tiny-distilled':
            expected = {'distillation.weight', 'distillation.temperature'}
        assert changed == expected
        assert changed


def test_blocks_are_compared_at_one_size():
    rows = [row for row in ROWS if row.compared_with == 'five_minutes']
    assert len(rows) == 3
    of_goal = size_of(config_of(BY_NAME['five_minutes']))
    for row in rows:
        assert 0.97 < size_of(config_of(row)) / of_goal < 1.03
        assert size_of(config_of(row)) <= 100_000


def size_of(config: ConfigDict) -> int:
    """How many parameters the model of a config has."""
    model = create_model(num_classes=10, **config.model)
    images = jnp.zeros((1, 28, 28, 1))
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), images, train=False))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes['params']))


def test_goals_are_those_that_were_set():
    assert [goal.goal for goal in GOALS] == [92.0, 95.0, 95.9, 96.9]
    for name in [name for goal in GOALS for name in (*goal.rows, *goal.others)]:
        assert BY_NAME[name].is_scored
    large = {row.name for row in ROWS if row.needs == ACCELERATOR}
    assert {'resnet20', 'wrn_16_4', 'wrn_28_10', 'wrn_40_4'} <= large
    assert not large & {'tiny', 'small', 'five_minutes'}


@pytest.mark.parametrize(
    'row', [x for x in TRAINED if x.chosen_from], ids=lambda x: x.name
)
def test_no_other_trial_was_better_than_the_chosen_one(row):
    trials = [one for one in ROWS if one.trial_of == row.name]
    assert trials
    kept = {one.name: read_row(keep.RUNS, one) for one in trials}
    if read_row(keep.RUNS, row):
        assert all(kept.values())
    if all(kept.values()):
        best = {
            name: np.mean([one.run.best['accuracy'] for one in runs.values()])
            for name, runs in kept.items()
        }
        assert best.get(row.chosen_from) == max(best.values(), default=None)


@pytest.mark.parametrize(
    ('name', 'limit'),
    [(name, goal.limit) for goal in GOALS if goal.limit for name in goal.rows],
)
def test_a_goals_models_are_as_small_as_it_says(name, limit):
    size = size_of(config_of(BY_NAME[name]))
    assert size <= limit
    if name == 'small':
        # Kernels of 3x3, projections where channels change, BatchNorm after each.
        stem = 9 * 16 + 2 * 16
        stages = sum(
            9 * (c * d + d * d) + 2 * 2 * d + (c * d + 2 * d) * (c != d)
            for c, d in ((16, 16), (16, 36), (36, 72))
        )
        assert size == stem + stages + 73 * 10


KEPT = sorted((keep.RUNS / GROUP).glob('*/seed*/config.json'))


@pytest.mark.parametrize('path', KEPT, ids=lambda path: str(path.parent))
def test_a_kept_run_is_of_its_row(path):
    row = BY_NAME[path.parts[-3]]
    if row.runs_of:
        row, _ = source(row.runs_of, 0)
    expected = config_of(row)
    expected.seed = int(path.parts[-2].removeprefix('seed'))
    kept = json.loads(path.read_text())
    if row.teachers:
        assert len(kept['distillation']['teachers']) == len(row.teachers)
        expected.distillation.teachers = tuple(kept['distillation']['teachers'])
    now = config_lib.to_dict(expected)
    assert config_lib.changed_fields(kept, now, may_extend=False) == []


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


def test_a_trial_without_erasing_is_the_shorter_recipe_for_longer():
    """So that the pair tells what erasing is worth."""
    config = config_of(BY_NAME['small_longer-trial-no_erasing'])
    expected = small.get_config()
    expected.num_epochs = config.num_epochs
    assert config_lib.to_dict(config) == config_lib.to_dict(expected)


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
