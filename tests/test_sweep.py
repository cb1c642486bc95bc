"""Sweeps: members against the same runs alone, kills, divergence, the fastest way."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from fmnist_jax import config as config_lib
from fmnist_jax.errors import DivergenceError, UserError
from fmnist_jax.reporting.runs import Run
from fmnist_jax.stopping import Stopped, StopSignals
from fmnist_jax.training import hyperparameters
from fmnist_jax.training.build import build_experiment
from fmnist_jax.training.configure import configure_jax
from fmnist_jax.training.experiment import Experiment
from fmnist_jax.training.hyperparameters import Hyperparameters
from fmnist_jax.training.program import Program
from fmnist_jax.training.sweep.choose_mapping import choose_mapping
from fmnist_jax.training.sweep.mapping import MAPPINGS
from fmnist_jax.training.sweep.sweep import sweep
from fmnist_jax.training.train import train_and_evaluate
from tests.conftest import ROOT, make_small_config, run_script
from tests.test_step import assert_states_agree
from tests.whole_runs import assert_same_run, data_flags, last_step, state_at

GRID = ['optimizer.learning_rate=0.003,0.001']


@pytest.fixture
def config(data_dir: str) -> ConfigDict:
    """Twenty steps in two epochs of a model that compiles quickly."""
    config = make_small_config(data_dir)
    config.model.name = 'linear'
    # As many as the tests have already.
    config.num_cpu_devices = 8
    return config


@pytest.fixture(scope='module')
def double(data_dir: str) -> Iterator[ConfigDict]:
    """The same of a model with BatchNorm and dropout, by Adam, in float64.

    That is switched on for the whole process.
    """
    config = make_small_config(data_dir)
    config.model.name = 'tests.nets:DropoutNet'
    config.optimizer.name = 'adam'
    config.optimizer.schedule = 'cosine'
    config.augmentation = ({'name': 'pad_and_crop'},)
    config.num_cpu_devices = 8
    config.precision = 'float64'
    yield config
    jax.config.update('jax_enable_x64', False)


@pytest.fixture(scope='module')
def alone(double, tmp_path_factory) -> dict[tuple, Path]:
    """Work folders of two members' runs by themselves, by learning rate and seed."""
    folders = {}
    for rate, seed in ((0.003, 0), (0.001, 1)):
        config = double.copy_and_resolve_references()
        config.seed, config.optimizer.learning_rate = seed, rate
        folders[rate, seed] = tmp_path_factory.mktemp('alone')
        train_and_evaluate(config, folders[rate, seed])
    return folders


@pytest.mark.parametrize(
    'mapping',
    [
        'vmap',
        *(pytest.param(x, marks=pytest.mark.slow) for x in MAPPINGS if x != 'vmap'),
    ],
)
def test_a_member_equals_the_same_run_alone(
    double, alone, tmp_path, mapping, monkeypatch
):
    # Three at once, so that of four members one is left.
    monkeypatch.setattr('fmnist_jax.training.sweep.mapping._MOST_MAPPED_CPU', 3)
    monkeypatch.setattr(jax, 'local_devices', lambda: jax.devices()[:3])
    outcomes = sweep(double, GRID, 2, tmp_path / 'sweep', mapping)
    assert [outcome.status for outcome in outcomes] == ['finished'] * 4
    for outcome in (outcomes[0], outcomes[3]):
        member = Path(outcome.workdir)
        folder = alone[*outcome.overrides.values(), outcome.seed]
        state = state_at(member, last_step(member))
        expected = state_at(folder, last_step(folder))
        assert state['step'] == expected['step'] == 20
        assert state['params']['Conv_0']['kernel'].dtype == np.float64
        assert_states_agree(state, expected, 1e-6)
        ours, theirs = Run.read(member), Run.read(folder)
        assert ours.config == theirs.config
        for one, other in zip(ours.metrics, theirs.metrics, strict=True):
            assert one['loss'] == pytest.approx(other['loss'], rel=1e-6)
        assert outcome.validation_accuracy == ours.best['accuracy']


def test_a_members_work_folder_is_an_ordinary_one(config, tmp_path, capsys):
    (first, *_) = sweep(config, GRID, 1, tmp_path / 'sweep', 'vmap')
    capsys.readouterr()
    # `main` takes it for its own, and has nothing left to do.
    alone = config.copy_and_resolve_references()
    alone.optimizer.learning_rate = first.overrides['optimizer.learning_rate']
    train_and_evaluate(alone, first.workdir)
    assert 'This run has finished' in capsys.readouterr().out
    for script, *arguments in (
        ('evaluate', f'--workdir={first.workdir}'),
        ('compare', str(tmp_path / 'sweep'), f'--output={tmp_path / "comparison"}'),
    ):
        done = run_script(f'fmnist_jax.{script}', *arguments)
        assert done.returncode == 0, done.stderr
    rows = (tmp_path / 'comparison' / 'comparison.csv').read_text().splitlines()
    assert len(rows) == 3
    assert list(Path(first.workdir).glob('tensorboard/*tfevents*'))


@pytest.mark.slow
def test_a_member_that_diverges_disturbs_nobody(config, tmp_path, capsys, monkeypatch):
    config.optimizer.name = 'sgd'
    grid = ['optimizer.learning_rate=0.01,1e38,0.02']
    outcomes = sweep(config, grid, 1, tmp_path / 'sweep', 'vmap')
    assert [outcome.status for outcome in outcomes] == [
        'finished',
        'diverged',
        'finished',
    ]
    assert 'not finite at step' in outcomes[1].error
    assert '1e+38' in capsys.readouterr().out
    written = json.loads((tmp_path / 'sweep' / 'sweep.json').read_text())
    assert [entry['status'] for entry in written] == [
        'finished',
        'diverged',
        'finished',
    ]
    calm = sweep(config, ['optimizer.learning_rate=0.01,0.02'], 1, tmp_path / 'calm')
    for ours, theirs in zip((outcomes[0], outcomes[2]), calm, strict=True):
        assert ours.validation_accuracy == pytest.approx(
            theirs.validation_accuracy, abs=0.005
        )
        one, other = Run.read(ours.workdir), Run.read(theirs.workdir)
        for line, same in zip(one.metrics, other.metrics, strict=True):
            assert line['loss'] == pytest.approx(same['loss'], rel=1e-3)
    # It is not tried again, but where its work folder was removed; though a sweep
    # over others came between, and the folder is called otherwise.
    sweep(config, ['optimizer.learning_rate=0.01'], 1, tmp_path / 'sweep')
    monkeypatch.chdir(tmp_path)
    again = sweep(config, grid, 1, 'sweep', 'vmap')
    assert [one.status for one in again] == [one.status for one in outcomes]
    assert again[1].error == outcomes[1].error
    monkeypatch.undo()
    assert '3 runs, 0 of them to train' in capsys.readouterr().out
    shutil.rmtree(outcomes[1].workdir)
    sweep(config, grid, 1, tmp_path / 'sweep', 'sequence')
    assert '1 of them to train' in capsys.readouterr().out


def test_what_diverged_is_known_when_the_others_are_stopped(config, tmp_path):
    config.optimizer.name = 'sgd'
    config.num_epochs = 6

    class StopsOnceItIsKnown(StopSignals):
        def is_set(self) -> bool:
            written = json.loads((tmp_path / 'sweep.json').read_text())
            return 'diverged' in [entry['status'] for entry in written]

    grid = ['optimizer.learning_rate=0.01,1e38']
    with StopsOnceItIsKnown() as stop, pytest.raises(Stopped):
        sweep(config, grid, 1, tmp_path, 'vmap', stop=stop)
    assert len(list(tmp_path.glob('*/divergence.json'))) == 1
    again = sweep(config, grid, 1, tmp_path, 'sequence')
    assert [outcome.status for outcome in again] == ['finished', 'diverged']


def test_where_all_diverge_there_is_no_winner(config, tmp_path, capsys):
    config.optimizer.name = 'sgd'
    grid = ['optimizer.learning_rate=1e38,2e38']
    with pytest.raises(DivergenceError, match='all 2 runs have diverged'):
        sweep(config, grid, 1, tmp_path, 'vmap')
    assert 'no winner' in capsys.readouterr().out
    entries = json.loads((tmp_path / 'sweep.json').read_text())
    assert [entry['status'] for entry in entries] == ['diverged'] * 2


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """When each file was written, and what it holds."""
    return {
        path.relative_to(folder).as_posix(): (
            path.stat().st_mtime_ns,
            path.read_bytes(),
        )
        for path in folder.rglob('*')
        if path.is_file()
    }


@pytest.mark.slow
def test_a_sweep_that_is_killed_goes_on(data_dir, tmp_path):
    flags = [
        *data_flags(data_dir),
        '--config.model.name=tests.nets:DropoutNet',
        '--config.num_epochs=3',
        '--config.num_cpu_devices=2',
        '--grid=optimizer.learning_rate=0.1,0.05,0.02',
        '--mapping=sequence',
    ]
    whole, folder = tmp_path / 'whole', tmp_path / 'killed'
    done = run_script('fmnist_jax.sweep', *flags, f'--workdir={whole}')
    assert done.returncode == 0, done.stderr
    command = [sys.executable, '-m', 'fmnist_jax.sweep', *flags, f'--workdir={folder}']
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        # The second is under way: the first has finished, the third has not begun.
        while not list(folder.glob('learning_rate=0.05*/checkpoints/[0-9]*')):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    statuses = [x['status'] for x in json.loads((folder / 'sweep.json').read_text())]
    assert statuses == ['finished', 'running', 'pending']
    (finished,) = folder.glob('learning_rate=0.1*')
    before = files(finished)
    done = run_script('fmnist_jax.sweep', *flags, f'--workdir={folder}')
    assert done.returncode == 0, done.stderr
    assert '3 runs, 2 of them to train' in done.stdout
    assert files(finished) == before
    for member in whole.glob('learning_rate*'):
        assert_same_run(folder / member.name, member)
    ours, theirs = (json.loads((f / 'sweep.json').read_text()) for f in (folder, whole))
    for one, other in zip(ours, theirs, strict=True):
        assert one | {'workdir': ''} == other | {'workdir': ''}


def test_nothing_is_trained_where_a_member_cannot_be(config, tmp_path):
    with pytest.raises(UserError, match='linnear'):
        sweep(config, ['model.name=linear,linnear'], 1, tmp_path / 'sweep')
    with pytest.raises(UserError, match='batch_size 641 is more than the 640'):
        sweep(config, ['batch_size=64,641'], 1, tmp_path / 'sweep')
    with pytest.raises(UserError, match=r'no work folder .*member init_from='):
        sweep(config, [f'init_from=None,{tmp_path / "gone"}'], 1, tmp_path / 'sweep')
    config.model.name = 'arch1'
    with pytest.raises(UserError, match='must have 3 numbers'):
        grid = ['model.dropout_rate=(0.1,0.2,0.3),(0.1,0.2)']
        sweep(config, grid, 1, tmp_path / 'sweep')
    with pytest.raises(UserError, match=r'member dropout_rate=0\.1'):
        sweep(config, ['model.dropout_rate=(0.1,0.2,0.3),0.1'], 1, tmp_path / 'sweep')
    config.model.name = 'linear'
    with pytest.raises(UserError, match='float64'):
        sweep(config, ['precision=float32,float64'], 1, tmp_path / 'sweep')
    assert not (tmp_path / 'sweep').exists()


def test_a_folder_of_another_sweep_is_refused(config, tmp_path):
    config.num_epochs = 1
    sweep(config, ['optimizer.learning_rate=0.01'], 1, tmp_path)
    config.batch_size = 32
    with pytest.raises(UserError, match='batch_size was 64, now 32'):
        sweep(config, ['optimizer.learning_rate=0.01'], 1, tmp_path)


def test_the_folder_of_a_single_run_is_refused(config, finished_run):
    before = files(finished_run)
    with pytest.raises(UserError, match='the work folder of a single run'):
        sweep(config, ['optimizer.learning_rate=0.01'], 1, finished_run)
    assert files(finished_run) == before


def test_models_can_be_swept_over(config, tmp_path):
    config.num_epochs = 1
    outcomes = sweep(config, ['model.name=linear,tinyvgg'], 1, tmp_path)
    names = [Run.read(outcome.workdir).config['model.name'] for outcome in outcomes]
    assert names == ['linear', 'tinyvgg']


@pytest.mark.parametrize(
    ('seconds', 'chosen'),
    [
        ({'sequence': 1.0, 'devices': 0.5, 'vmap': 0.7}, 'devices'),
        ({'sequence': 1.0, 'devices': 0.9, 'vmap': 0.3}, 'vmap'),
        ({'sequence': 1.0, 'devices': 1.5, 'vmap': 1.2}, 'sequence'),
        # Within what a measurement is worth.
        ({'sequence': 1.0, 'devices': 0.97, 'vmap': 1.2}, 'sequence'),
        # Little to train: a trial would take longer than it saves.
        ({'sequence': 1e-4, 'devices': 1e-9, 'vmap': 1e-9}, 'sequence'),
        ({'sequence': 1.0, 'devices': 0.9, 'vmap': None}, 'devices'),
    ],
)
def test_the_fastest_way_is_chosen(config, monkeypatch, seconds, chosen):
    def measured(self):
        (name,) = (name for name, kind in MAPPINGS.items() if isinstance(self, kind))
        if seconds[name] is None:
            raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: out of memory')
        return seconds[name]

    for kind in MAPPINGS.values():
        monkeypatch.setattr(kind, 'seconds_per_step', measured)
    experiment = trial_experiment(config)
    told = []
    best = choose_mapping(experiment, [config, config, config], 1000, told.append)
    assert isinstance(best, MAPPINGS[chosen])
    assert any('out of memory' in line for line in told) == (None in seconds.values())


@pytest.mark.parametrize('mapping', MAPPINGS)
def test_a_trial_measures_seconds(config, mapping, monkeypatch):
    monkeypatch.setattr('fmnist_jax.training.program._TRIAL_SECONDS', 0.01)
    way = MAPPINGS[mapping](trial_experiment(config), [config, config])
    assert 0 < way.seconds_per_step() < 10


def test_a_device_that_fails_in_a_trial_keeps_no_other_waiting(config, monkeypatch):
    made = []

    def call(self, *arguments):
        made.append(self)
        if len(made) == 1:
            raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: out of memory')
        return original(self, *arguments)

    original = Program.call
    way = MAPPINGS['devices'](trial_experiment(config), [config, config])
    monkeypatch.setattr(Program, 'call', call)
    with pytest.raises(jax.errors.JaxRuntimeError, match='out of memory'):
        way.seconds_per_step()


def test_main_refuses_the_folder_of_a_sweep(config, tmp_path):
    config.num_epochs = 1
    sweep(config, ['optimizer.learning_rate=0.01'], 1, tmp_path)
    with pytest.raises(UserError, match='holds the runs of a sweep'):
        train_and_evaluate(config, tmp_path)


def test_a_sweep_that_selects_on_test_says_so(config, tmp_path, capsys):
    config.num_epochs = 1
    config.data.validation_split = 'test[:100]'
    sweep(config, ['optimizer.learning_rate=0.01'], 1, tmp_path)
    assert 'the test set chooses' in capsys.readouterr().out


def trial_experiment(config: ConfigDict) -> Experiment:
    configure_jax(config)
    return build_experiment(config, log=lambda message: None)


OTHER_NUMBERS = {
    'seed': 1,
    'num_epochs': 3,
    'label_smoothing': 0.1,
    'optimizer.learning_rate': 0.5,
    'optimizer.momentum': 0.5,
    'optimizer.b1': 0.5,
    'optimizer.b2': 0.5,
    'optimizer.eps': 0.5,
    'optimizer.weight_decay': 0.5,
    'optimizer.clip_norm': 0.5,
    'optimizer.warmup': '1 epoch',
    'optimizer.decay_rate': 0.5,
    'optimizer.decay_every': '2 epochs',
    'optimizer.sam_radius': 0.05,
    'ema_decay': 0.9,
    'distillation.weight': 0.9,
    'distillation.temperature': 4.0,
}


@pytest.mark.parametrize('field', hyperparameters.FIELDS)
def test_a_field_that_members_may_differ_in_is_an_array(config, field):
    """Each of `hyperparameters.FIELDS` changes one array, and nothing else."""
    before = Hyperparameters.create(config, 10, np.float32, 0.1)
    if field == 'model.dropout_rate':
        after = Hyperparameters.create(config, 10, np.float32, 0.2)
    else:
        config.update_from_flattened_dict({field: OTHER_NUMBERS[field]})
        config_lib.validate(config)
        after = Hyperparameters.create(config, 10, np.float32, 0.1)
    leaves = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
    assert sum(float(a) != float(b) for a, b in leaves) == 1
