"""The learning-rate range test: rates, losses, the suggestion, files, bad input."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
from matplotlib.axes import Axes
from ml_collections import ConfigDict
from PIL import Image

from fmnist_jax.errors import UserError
from fmnist_jax.reporting.figures.lr_range_test import range_test_figure
from fmnist_jax.reporting.lr_range_test.measurements import Measurements
from fmnist_jax.reporting.lr_range_test.reading import READINGS, suggest
from fmnist_jax.training.lr_range_test.range_test import run_range_test
from fmnist_jax.training.lr_range_test.rise import Rise
from fmnist_jax.training.program import Program
from fmnist_jax.training.train import train_and_evaluate
from tests.conftest import make_small_config, run_script
from tests.mistakes import assert_fails

FILES = {'lr_range_test.json', 'lr_range_test.png', 'lr_range_test.pdf'}


def prepare(data_dir: str) -> ConfigDict:
    """Softmax regression with Adam: 20 updates an epoch, each on two devices."""
    config = make_small_config(data_dir)
    config.num_cpu_devices = jax.device_count()
    config.data.train_split = 'train[:1280]'
    config.batch_size = 62
    config.model.name = 'linear'
    config.optimizer.name = 'adam'
    return config


@pytest.fixture
def config(data_dir: str) -> ConfigDict:
    return prepare(data_dir)


@pytest.fixture(scope='module')
def per_step(data_dir, tmp_path_factory) -> tuple[dict, Path, list[float]]:
    """A test per step: its result, its folder, and the rates of the updates."""
    config = prepare(data_dir)
    config.steps_per_call = 1
    rates = []
    with pytest.MonkeyPatch.context() as patch:
        record_rates(patch, rates)
        folder = tmp_path_factory.mktemp('per_step')
        rise = Rise.create('step', 1e-5, 1e4, '5.55 epochs')
        result = run_range_test(config, folder, rise)
    return result, folder, rates


def record_rates(patch: pytest.MonkeyPatch, rates: list[float]) -> None:
    """Notes the rate that the state holds after each call, in single steps."""
    call = Program.call

    def watched(self, num_steps, *args):
        assert num_steps == 1
        function, seconds = call(self, num_steps, *args)

        def record(state, *inputs):
            state, progress = function(state, *inputs)
            rates.append(float(state.sums.learning_rate))
            return state, progress

        return record, seconds

    patch.setattr(Program, 'call', watched)


@pytest.fixture(scope='module')
def per_epoch(data_dir, tmp_path_factory) -> tuple[dict, Path]:
    """A test per epoch: its result and its folder."""
    folder = tmp_path_factory.mktemp('per_epoch')
    rise = Rise.create('epoch', 1e-5, 10.0, '24 epochs')
    return run_range_test(prepare(data_dir), folder, rise), folder


def averages(values: list[float], beta: float) -> list[float]:
    """Each value's average with those before it, weighted by powers of beta."""
    result = []
    for count in range(1, len(values) + 1):
        weights = beta ** np.arange(count)[::-1]
        result.append(np.average(values[:count], weights=weights))
    return result


def read(folder: Path) -> dict:
    return json.loads((folder / 'lr_range_test.json').read_text())


def test_rates_are_those_of_the_file_and_rise_from_min_to_max(per_step):
    result, _, used = per_step
    expected = [1e-5 * 1e9 ** (point / 110) for point in range(111)]
    listed = result['learning_rate']
    assert 50 < len(listed) < 111
    np.testing.assert_allclose(listed, expected[: len(listed)], rtol=1e-12)
    # Some calls have been handed out before the stop is seen.
    assert len(listed) <= len(used) <= len(listed) + 3
    np.testing.assert_allclose(used, expected[: len(used)], rtol=1e-5)


def test_smoothing_and_suggestion_per_step_follow_from_the_file(per_step):
    result, folder, _ = per_step
    assert read(folder) == json.loads(json.dumps(result))
    assert result['smoothing'] == pytest.approx(1 - 40 / 111)
    smoothed = averages(result['loss'], result['smoothing'])
    np.testing.assert_allclose(result['smoothed_loss'], smoothed, rtol=1e-9)
    near = [
        rate
        for rate, loss in zip(result['learning_rate'], smoothed, strict=True)
        if loss <= 1.25 * min(smoothed)
    ]
    expected = min(near[0], result['learning_rate'][np.argmin(smoothed)] / 3)
    assert result['suggestion'] == pytest.approx(expected, rel=0.05)
    assert result['suggestion'] == float(f'{result["suggestion"]:.2g}')
    assert 1e-3 < result['suggestion'] < 1
    assert 'within 25 % of its lowest, but at most 1/3 of the rate' in result['rule']
    assert result['lowest_at'] == result['learning_rate'][np.argmin(smoothed)]


def test_a_test_stops_where_the_loss_diverges(per_step):
    result, _, _ = per_step
    smoothed = result['smoothed_loss']
    ratios = smoothed / np.minimum.accumulate(smoothed)
    assert ratios[-1] > 2 >= max(ratios[:-1])
    assert result['diverged_at'] == result['learning_rate'][-1]
    assert 'over 2 times its lowest' in result['divergence']


def test_smoothing_and_suggestion_per_epoch_follow_from_the_file(per_epoch):
    result, folder = per_epoch
    assert read(folder) == json.loads(json.dumps(result))
    rates = result['learning_rate']
    expected = [1e-5 * 1e6 ** (epoch / 23) for epoch in range(24)]
    np.testing.assert_allclose(rates, expected[: len(rates)], rtol=1e-12)
    assert result['smoothing'] == 0.5
    for key in ('loss', 'validation_loss'):
        smoothed = averages(result[key], 0.5)
        np.testing.assert_allclose(result[f'smoothed_{key}'], smoothed, rtol=1e-9)
    near = np.array(smoothed) <= 1.05 * min(smoothed)
    assert result['suggestion'] == pytest.approx(rates[near.argmax()], rel=0.05)
    assert result['rule'].endswith('validation loss is within 5 % of its lowest')
    assert len(result['validation_accuracy']) == len(rates)
    assert max(result['validation_accuracy']) > 0.7


def test_a_test_per_epoch_of_one_rate_is_an_ordinary_run(config, tmp_path):
    config.augmentation = ({'name': 'horizontal_flip'},)
    config.label_smoothing = 0.1
    config.num_epochs = 3
    config.optimizer.learning_rate = 0.01
    train_and_evaluate(config, tmp_path / 'run')
    lines = [json.loads(x) for x in (tmp_path / 'run/metrics.jsonl').open()]
    # What a test replaces has no influence.
    config.num_epochs = 7
    config.optimizer.learning_rate = 5.0
    config.optimizer.schedule = 'one_cycle'
    rise = Rise.create('epoch', 0.01, 0.01 * (1 + 1e-9), '3 epochs')
    result = run_range_test(config, tmp_path / 'test', rise)
    train, validation = lines[::2], lines[1::2]
    assert result['loss'] == pytest.approx([x['loss'] for x in train], rel=1e-6)
    for key in ('loss', 'accuracy'):
        expected = [x[key] for x in validation]
        assert result[f'validation_{key}'] == pytest.approx(expected, rel=1e-6)
    assert result['config']['num_epochs'] == 7


def test_a_test_per_step_is_a_run_of_the_exponential_schedule(config, tmp_path):
    config.num_epochs = 2
    run = config.copy_and_resolve_references()
    run.optimizer.learning_rate = 1e-4
    run.optimizer.schedule = 'exponential'
    run.optimizer.decay_rate = 100.0
    run.optimizer.decay_every = '39 steps'
    train_and_evaluate(run, tmp_path / 'run')
    lines = [json.loads(x) for x in (tmp_path / 'run/metrics.jsonl').open()]
    config.optimizer.schedule = 'cosine'
    config.optimizer.warmup = '1 epoch'
    rise = Rise.create('step', 1e-4, 1e-2, '2 epochs')
    losses = np.reshape(run_range_test(config, tmp_path, rise)['loss'], (2, 20))
    expected = [line['loss'] for line in lines[::2]]
    np.testing.assert_allclose(losses.mean(axis=1), expected, rtol=1e-6)


def test_losses_that_are_not_finite_are_left_out(config, tmp_path):
    """Plain SGD with a rate that makes the parameters overflow within a few updates."""
    config.model.name = 'linear_v0'
    config.optimizer.name = 'sgd'
    for per, duration in (('step', '2 epochs'), ('epoch', '3 epochs')):
        rise = Rise.create(per, 1e5, 1e6, duration)
        result = run_range_test(config, tmp_path / per, rise)
        assert np.isfinite(result['loss']).all()
        assert result['suggestion'] is None
        assert result['note'].startswith('no suggestion: ')
        assert 'start lower with --min' in result['note']
        assert '--max' not in result['note']
        assert result['diverged_at'] >= 1e5
        assert len(result['loss']) < 10


def test_not_finite_parameters_end_a_test_at_their_rate():
    measurements = Measurements('step', np.geomspace(1e-3, 1, 4))
    assert measurements.add(2.0)
    assert not measurements.add(math.nan)
    assert measurements.train.values == [2.0]
    assert measurements.diverged_at == pytest.approx(1e-2)
    measurements = Measurements('epoch', np.geomspace(1e-3, 1, 4))
    assert measurements.add(2.0, 2.0, 0.5)
    assert not measurements.add(1.0, math.inf, 0.5)
    assert measurements.accuracy == [0.5]


def test_a_loss_that_never_falls_gives_no_suggestion(config, tmp_path, capsys):
    rise = Rise.create('step', 1e-9, 1e-8, '40 steps')
    result = run_range_test(config, tmp_path, rise)
    assert result['suggestion'] is None
    assert result['diverged_at'] is None
    assert 'end higher with --max' in result['note']
    printed = capsys.readouterr().out
    assert printed.count('no suggestion') == 1
    assert '--config.optimizer.learning_rate' not in printed


RATES = np.geomspace(1e-4, 1, 41).tolist()


@pytest.mark.parametrize(
    ('smoothed', 'expected', 'note'),
    [
        # 1.25 times the lowest, 1, is reached at point 20 of 40.
        ([2.0] * 20 + [1.25] * 10 + [1.0] + [3.0] * 10, 0.01, None),
        ([2.0] * 20 + [1.26] + [1.25] * 9 + [1.0], 0.013, None),
        # A third of the rate where it is lowest is less than that.
        ([2.0] * 20 + [1.25, 1.0] + [3.0] * 19, 0.0042, None),
        ([2.0] * 10 + [1.0] * 10 + [1.5] * 21, 0.00033, None),
        ([2.0] * 3 + [1.0] * 10 + [1.5] * 28, 6.7e-05, 'below --min'),
        ([*np.linspace(3, 1, 41)], 0.32, 'a higher --max'),
        ([2.0] * 41, None, 'end higher'),
        ([2.0, 5.0], None, 'start lower with --min'),
        ([], None, 'start lower with --min'),
    ],
)
def test_the_rule_on_made_up_losses(smoothed, expected, note):
    losses = [float(x) for x in smoothed]
    diverged = len(losses) < len(RATES)
    found = suggest(RATES, losses, READINGS['step'], diverged=diverged)
    assert found.learning_rate == expected
    assert (note or '') in (found.note or '')
    assert (note is None) == (found.note is None)


def labels_of(axes: Axes) -> dict[str, list[float]]:
    return {line.get_label(): list(line.get_xdata()) for line in axes.lines}


def test_the_figure_shows_losses_and_marks(per_step):
    result, _, _ = per_step
    figure = range_test_figure(result)
    (axes,) = figure.axes
    raw, smoothed = axes.lines[:2]
    assert list(raw.get_ydata()) == result['loss']
    assert list(smoothed.get_ydata()) == result['smoothed_loss']
    assert list(smoothed.get_xdata()) == result['learning_rate']
    assert raw.get_alpha() < 1 < smoothed.get_linewidth()
    assert axes.get_xscale() == 'log'
    marks = {x.get_label().split(',')[0]: x.get_xdata()[0] for x in axes.lines[2:]}
    assert marks == {
        'suggestion': result['suggestion'],
        'lowest loss': result['lowest_at'],
        'stopped': result['diverged_at'],
    }
    # What explodes at the end leaves the picture, and flattens nothing.
    low, high = axes.get_ylim()
    assert low < min(result['loss'])
    assert result['smoothed_loss'][0] < high < 4
    title = ' '.join(figure.get_suptitle().split())
    assert title.startswith(f'linear, adam: suggestion {result["suggestion"]:g}, ')
    assert title.endswith(result['rule'])


def test_the_figure_of_a_test_per_epoch_shows_validation(per_epoch):
    result, _ = per_epoch
    losses, accuracy = range_test_figure(result).axes
    shown = {line.get_label(): list(line.get_ydata()) for line in losses.lines[:4]}
    assert shown == {
        'training': result['loss'],
        'training, smoothed': result['smoothed_loss'],
        'validation': result['validation_loss'],
        'validation, smoothed': result['smoothed_validation_loss'],
    }
    assert list(accuracy.lines[0].get_ydata()) == result['validation_accuracy']
    assert accuracy.lines[1].get_xdata()[0] == result['suggestion']


def test_a_figure_of_a_flat_loss_can_be_drawn(per_step):
    flat = {'loss': [2.0], 'smoothed_loss': [2.0], 'learning_rate': [0.1]}
    marks = {'suggestion': None, 'lowest_at': None, 'note': 'no suggestion'}
    figure = range_test_figure({**per_step[0], **flat, **marks})
    assert figure.axes[0].get_ylim() == (0, 4)
    assert figure.get_suptitle().endswith('no suggestion')


def test_files_are_whole_and_nothing_else_is_left(per_step, per_epoch):
    for folder in (per_step[1], per_epoch[1]):
        assert {path.name for path in folder.iterdir()} == FILES
        assert (folder / 'lr_range_test.pdf').read_bytes().startswith(b'%PDF')
        with Image.open(folder / 'lr_range_test.png') as image:
            assert image.width > 900


def test_an_earlier_test_is_replaced_by_a_whole_one(config, tmp_path, capsys):
    rise = Rise.create('step', 1e-4, 1e-2, '20 steps')
    first = run_range_test(config, tmp_path, rise)
    assert 'replaced' not in capsys.readouterr().out
    config.seed = 1
    second = run_range_test(config, tmp_path, rise)
    assert 'the earlier test in it will be replaced' in capsys.readouterr().out
    assert read(tmp_path) == json.loads(json.dumps(second))
    assert first['loss'] != second['loss']
    assert second['config']['seed'] == 1


def test_an_interrupted_test_leaves_nothing(config, tmp_path, monkeypatch):
    def interrupt(self, *args):
        raise KeyboardInterrupt

    monkeypatch.setattr(Measurements, 'add', interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_range_test(config, tmp_path / 'test', Rise.create())
    assert not (tmp_path / 'test').exists()


def test_a_test_can_begin_with_trained_weights(finished_run, config, tmp_path):
    config.model.name = 'tinyvgg'
    config.init_from = str(finished_run)
    rise = Rise.create('step', 1e-9, 1e-8, '10 steps')
    trained = run_range_test(config, tmp_path, rise)
    assert trained['provenance']['init_from']['workdir'] == str(finished_run)
    config.init_from = None
    assert trained['loss'][0] < run_range_test(config, tmp_path, rise)['loss'][0]


def test_the_script_prints_the_flag_to_copy(data_dir, tmp_path):
    done = run_script(
        'fmnist_jax.lr_range_test',
        '--config=configs/default.py',
        f'--config.data.data_dir={data_dir}',
        '--config.data.train_split=train[:4800]',
        '--config.model.name=linear',
        '--max=100',
        f'--workdir={tmp_path}',
    )
    assert done.returncode == 0, done.stderr
    result = read(tmp_path)
    assert len(result['loss']) < 150
    assert result['diverged_at'] < 100
    lines = done.stdout.splitlines()
    assert f'--config.optimizer.learning_rate={result["suggestion"]:g}' in lines
    assert any(result['rule'] in line for line in lines)
    written = [x.rsplit('/', 1)[-1] for x in lines if x.startswith('written: ')]
    assert set(written) == FILES


def refused(call: Callable[[], object], *parts: str) -> None:
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert '\n' not in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ('per', 'lowest', 'highest', 'message'),
    [
        ('step', 0.1, 0.1, '--min 0.1 must be below --max 0.1'),
        ('epoch', 0.1, 0.01, '--min 0.1 must be below --max 0.01'),
        ('step', 20.0, None, '--min 20 must be below --max 10'),
        ('step', 0.0, None, '--min must be from 1e-12 to 1e+06, not 0'),
        ('step', -1.0, None, 'not -1'),
        ('step', math.nan, None, '--min must be from 1e-12 to 1e+06, not nan'),
        ('step', None, math.inf, '--max must be from 1e-12 to 1e+06, not inf'),
        ('epoch', 1e-40, None, '--min'),
    ],
)
def test_rates_that_do_not_rise_are_refused(per, lowest, highest, message):
    refused(lambda: Rise.create(per, lowest, highest), message)


@pytest.mark.parametrize(
    ('per', 'duration', 'message'),
    [
        ('step', '', '--duration must be a duration such as'),
        ('step', 'long', "--duration must be a duration such as '500 steps'"),
        ('step', '-3 epochs', "not '-3 epochs'"),
        ('step', '9 steps', "--duration '9 steps' is 9 steps; with --per=step a test"),
        ('step', '0.1 epochs', 'is 2 steps'),
        ('step', '1e400 steps', 'is inf steps'),
        ('step', '1e9 epochs', 'from 10 to 1,000,000 steps'),
        ('epoch', '2 epochs', "'2 epochs' is 2 epochs; with --per=epoch a test takes"),
        ('epoch', '3.5 epochs', 'is 3.5 epochs; with --per=epoch'),
        ('epoch', '61 steps', 'from 3 to 1,000,000 whole epochs'),
    ],
)
def test_durations_that_are_none_or_too_short_are_refused(
    config, tmp_path, per, duration, message
):
    rise = Rise.create(per, duration=duration)
    refused(lambda: run_range_test(config, tmp_path / 'test', rise), message)
    assert not (tmp_path / 'test').exists()


def test_whole_epochs_may_be_written_in_any_unit():
    for duration in ('60 steps', '3 epochs', '3840 examples'):
        assert Rise.create('epoch', duration=duration).num_points(20, 64) == 3


def test_a_folder_that_holds_a_run_or_cannot_be_written_is_refused(
    config, finished_run, tmp_path
):
    for folder, part in (
        (finished_run, 'holds a training run; choose another --workdir'),
        (Path('/proc/test'), 'cannot write to /proc/test'),
    ):
        refused(lambda f=folder: run_range_test(config, f, Rise.create()), part)
    shutil.copytree(finished_run / 'checkpoints', tmp_path / 'checkpoints')
    refused(
        lambda: run_range_test(config, tmp_path, Rise.create()), 'holds a training run'
    )


def test_a_mistake_in_the_config_is_told_by_its_own_name(config, tmp_path):
    config.optimizer.decay_every = 'often'
    refused(
        lambda: run_range_test(config, tmp_path, Rise.create()),
        'optimizer.decay_every must be a duration',
    )
    config.optimizer.decay_every = '1 epoch'
    config.model.name = 'tinyvg'
    refused(lambda: run_range_test(config, tmp_path, Rise.create()), "'tinyvg'")


CONFIG = '--config=configs/default.py'


@pytest.mark.parametrize(
    ('arguments', 'part'),
    [
        ([], '--config is missing'),
        (['--config=configs/none.py'], "No such file or directory: 'configs/none.py'"),
        ([CONFIG, '--config.optimizer.rate=1'], 'unknown config field'),
        ([CONFIG, '--min=little'], '--min=little'),
        ([CONFIG, '--per=day'], '--per=day'),
        ([CONFIG, '--min=1', '--max=0.1'], '--min 1 must be below --max 0.1'),
    ],
)
def test_bad_input_gives_one_line(arguments, part):
    assert_fails(run_script('fmnist_jax.lr_range_test', *arguments), part)
