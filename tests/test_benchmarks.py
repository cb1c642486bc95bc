"""The benchmark: useful work, statistics, processes."""

import contextlib
import importlib
import json
import math
import os
import signal
import subprocess
import sys
import time

import pytest
from flax import linen as nn

from benchmarks import lineup, machine, report, workloads
from benchmarks.benchmark import Settings, measure
from benchmarks.idle import IdleWatch
from benchmarks.process import BenchmarkError, Entrant, MissingError, Process
from benchmarks.summary import largest_difference, summarize
from benchmarks.work import layers_work, training_flops
from benchmarks.workloads import NETWORKS, Workload, with_names
from fmnist_jax.errors import UserError
from fmnist_jax.models import create_model
from tests.conftest import ROOT, run_script
from tests.images import GREY
from tests.nets import random_variables
from tests.test_structure import PACKAGE, imports

WORKLOAD = Workload('linear', 10)
SETTINGS = Settings(rounds=3, seconds=0.5)


def test_the_package_does_not_know_its_benchmark():
    for path in PACKAGE.rglob('*.py'):
        assert not any(name.startswith('benchmarks') for name in imports(path)), path


# Useful work.


@pytest.mark.parametrize('name', ['competitors.ours', 'turns', 'timed_runs', 'runs'])
def test_what_a_benchmark_needs_of_the_package_is_there(name):
    module = importlib.import_module(f'benchmarks.{name}')
    for line in getattr(module, '_PREDICT', '').splitlines():
        if 'import' in line:
            exec(line, {})


def test_tinyvgg_needs_6_66_mflop_an_image():
    assert training_flops(create_model('tinyvgg', num_classes=10), GREY) == 6_662_040


def test_the_work_of_vgg_like_is_what_its_layers_sizes_say():
    def conv(side, inputs, outputs):
        return 3 * 3 * inputs * outputs * side * side

    first = conv(28, 1, 32)
    others = conv(28, 32, 32) + conv(14, 32, 64) + conv(14, 64, 64)
    dense = 7 * 7 * 64 * 512 + 512 * 10
    model = create_model('vgg_like', num_classes=10)
    assert training_flops(model, GREY) == 2 * (2 * first + 3 * (others + dense))


def test_a_gradient_is_needed_of_what_a_parameter_comes_before():
    needed = {
        name: [
            layer.needs_input_gradient
            for layer in layers_work(create_model(name, num_classes=10), GREY)
        ]
        for name in ('linear', 'linear_v0', 'bn_cnn', 'arch2')
    }
    assert needed == {
        'linear': [False],
        'linear_v0': [False, True],
        'bn_cnn': [False, True, True, True],
        # BatchNorm on the pixels has parameters.
        'arch2': [True] * 5,
    }


def test_strides_and_groups_save_work_and_branches_have_their_own():
    class Branches(nn.Module):
        @nn.compact
        def __call__(self, images, *, train):
            left = nn.Conv(6, (3, 3), strides=2)(images)
            right = nn.Conv(6, (1, 1), strides=2)(images)
            both = nn.Conv(12, (5, 5), feature_group_count=3)(left + right)
            return both.mean((1, 2))

    layers = layers_work(Branches(), (8, 8, 3))
    outputs = 4 * 4
    assert [layer.multiply_adds for layer in layers] == [
        outputs * 6 * 3 * 9,
        outputs * 6 * 3,
        outputs * 12 * (6 // 3) * 25,
    ]
    assert [layer.needs_input_gradient for layer in layers] == [False, False, True]


# Statistics.


def rounds_of(**seconds):
    """Rounds in which all take one step, in these seconds."""
    return [
        {name: {'steps': 1, 'seconds': s} for name, s in zip(seconds, one, strict=True)}
        for one in zip(*seconds.values(), strict=True)
    ]


def test_the_ratio_is_that_to_the_fastest_peer_of_each_round():
    rounds = rounds_of(
        ours=[1, 1, 1, 1, 0.5],
        a=[2, 2, 2, 4, 2],
        b=[3, 3, 1, 3, 3],
        matrix_product=[1, 1, 1, 2, 1],
    )
    summary = summarize(rounds, 10, flops_per_image=3, flops_per_product=60)
    assert summary['images_per_second'] == pytest.approx(
        {'ours': 10, 'a': 5, 'b': 10 / 3}
    )
    assert summary['best_peer'] == 'a'
    # 2, 2, 1, 3, 4
    assert summary['ratio_to_best_peer'] == {'median': 2, 'lower_quartile': 2}
    assert summary['matrix_product_flops_per_second'] == 60
    # 30/60, 30/60, 30/60, 30/30, 60/60
    assert summary['useful_fraction'] == 0.5


def test_the_lower_quartile_is_below_the_median():
    ours = [1 / speed for speed in (4, 1, 3, 2, 5)]
    rounds = rounds_of(ours=ours, a=[1] * 5, matrix_product=[1] * 5)
    ratio = summarize(rounds, 1, 1, 1)['ratio_to_best_peer']
    assert ratio == pytest.approx({'median': 3, 'lower_quartile': 2})


def test_without_peers_there_is_no_ratio():
    summary = summarize(rounds_of(ours=[1], matrix_product=[1]), 1, 1, 1)
    assert summary['best_peer'] is None
    assert summary['ratio_to_best_peer'] is None


def test_the_largest_difference_of_losses_is_relative():
    assert largest_difference([1.0, 2.2, 4.0], [1.0, 2.0, 5.0]) == pytest.approx(0.2)
    assert math.isnan(largest_difference([1.0, float('nan')], [1.0, 1.0]))


# Workloads.


@pytest.mark.parametrize('text', workloads.DEFAULT)
def test_a_default_workload_reads_as_it_is_written(text):
    assert str(Workload.parse(text)) == text


@pytest.mark.parametrize('text', ['tinyvgg', 'tinyvgg@', 'tinyvgg@0', 'tinyvgg@x'])
def test_a_workload_has_a_batch_size(text):
    with pytest.raises(UserError, match="such as 'tinyvgg@32'"):
        Workload.parse(text)


@pytest.mark.parametrize('name', NETWORKS)
def test_the_layers_have_the_names_of_the_models_parameters(name):
    _, variables = random_variables(name)
    names = {n for n, _ in with_names(NETWORKS[name].layers)}
    assert variables['params'].keys() == {
        n for n in names if n.startswith(('Conv', 'Dense', 'BatchNorm'))
    }


# Processes.


def fakes(*names):
    module = 'tests.fake_competitors'
    return [
        Entrant(name.lower(), f'{module}:{name}', install='install it')
        for name in names
    ] + [Entrant('matrix_product', f'{module}:Fake')]


@pytest.fixture
def lines():
    """What `measure` tells."""
    return []


def test_competitors_take_turns(lines):
    result = measure(WORKLOAD, fakes('Ours', 'Fake'), SETTINGS, lines.append)
    assert [list(one) for one in result['rounds']] == [
        ['ours', 'fake', 'matrix_product']
    ] * 3
    # 0.5 s of 200 and of 100 steps a second.
    assert result['rounds'][0]['ours'] == {'steps': 100, 'seconds': 0.5}
    assert result['rounds'][0]['fake'] == {'steps': 50, 'seconds': 0.5}
    assert result['summary']['images_per_second'] == {'ours': 2000, 'fake': 1000}
    assert result['summary']['ratio_to_best_peer']['median'] == 2
    assert result['largest_loss_difference'] == {'ours': 0, 'fake': 0}
    assert len(result['losses']['fake']) == 20
    assert result['versions']['fake'] == {'fake': '1.0'}
    assert result['left_out'] == {}
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert 'round 3/3: ours 2,000, fake 1,000 images/s' in lines[-1]


def test_a_turn_ends_with_the_epoch(lines):
    settings = Settings(rounds=1, seconds=1e6)
    result = measure(WORKLOAD, fakes('Ours'), settings, lines.append)
    assert result['rounds'][0]['ours']['steps'] == 1000


def test_another_one_begins_each_round(tmp_path, monkeypatch, lines):
    monkeypatch.setattr(
        'tempfile.TemporaryDirectory', lambda: contextlib.nullcontext(str(tmp_path))
    )
    entrants = fakes('Ours', 'Fake')[:2]
    entrants.append(Entrant('matrix_product', 'tests.fake_competitors:Diverging'))
    measure(WORKLOAD, entrants, SETTINGS, lines.append)
    turns = (tmp_path / 'turns').read_text().split()[-9:]
    a, b, c = 'Ours', 'Fake', 'Diverging'
    assert turns == [a, b, c, b, c, a, c, a, b]


def test_who_is_missing_is_left_out_and_named(lines):
    entrants = fakes('Ours', 'Fake')
    entrants[1:1] = [Entrant('absent', 'no_such_package:X', install='install it')]
    result = measure(WORKLOAD, entrants, SETTINGS, lines.append)
    assert list(result['summary']['images_per_second']) == ['ours', 'fake']
    (reason,) = result['left_out'].values()
    assert reason == "No module named 'no_such_package'; install it"
    assert f'absent is left out: {reason}' in lines


@pytest.mark.parametrize('name', ['Other', 'OtherForward', 'Diverging'])
def test_who_computes_something_else_fails_the_benchmark(name, lines):
    with pytest.raises(BenchmarkError, match=f'{name.lower()} computes something else'):
        measure(WORKLOAD, fakes('Ours', name), SETTINGS, lines.append)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('Failing', 'failing: ValueError: no 1 steps and a second line'),
        ('Ending', 'ending: its process ended with exit code 7: out of memory'),
    ],
)
def test_a_failure_is_told_in_one_line(name, message, lines):
    with pytest.raises(BenchmarkError) as error:
        measure(WORKLOAD, fakes('Ours', name), SETTINGS, lines.append)
    assert str(error.value) == message


def test_an_interpreter_that_is_not_there_is_a_user_error(tmp_path):
    entrant = Entrant('keras', 'x:X', python=str(tmp_path / 'python'))
    with pytest.raises(UserError, match='keras: cannot run'):
        Process(entrant, tmp_path / 'log')


def test_a_process_that_waits_uses_no_processor_and_ends_when_closed(tmp_path):
    process = Process(fakes('Fake')[0], tmp_path / 'log')
    with contextlib.closing(process):
        process.call('start', workload='linear@10', folder=str(tmp_path), threads=2)
        assert 'libraries print things' in (tmp_path / 'log').read_text()
        before = process.cpu_seconds()
        if before is None:
            pytest.skip('this system does not tell')
        assert before > 0
        time.sleep(0.2)
        assert process.cpu_seconds() == before
        pid = process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_competitor_ends_when_nobody_is_left_to_call_it():
    command = (sys.executable, '-m', 'benchmarks.worker', 'tests.fake_competitors:Fake')
    done = subprocess.run(command, input='', cwd=ROOT, check=False, timeout=60)
    assert done.returncode == 0


def test_a_missing_package_is_told_apart_from_a_failure(tmp_path):
    process = Process(Entrant('absent', 'no_such_package:X'), tmp_path / 'log')
    with contextlib.closing(process), pytest.raises(MissingError, match='no_such_pack'):
        process.call('start', workload='linear@10', folder=str(tmp_path), threads=2)


def test_processor_time_is_counted_while_others_have_their_turn():
    used = {'a': 0.0, 'b': 0.0}
    watch = IdleWatch({name: lambda n=name: used[n] for name in used})
    with watch.turn_of('a'):
        used['a'] += 100
        used['b'] += 1
        time.sleep(0.01)
    with watch.turn_of('b'):
        used['b'] += 100
        time.sleep(0.01)
    assert watch.shares()['a'] == 0
    assert 0 < watch.shares()['b'] <= 1 / 0.01


def test_where_processor_time_is_not_known_there_are_no_shares():
    watch = IdleWatch({'a': lambda: None, 'b': lambda: None})
    with watch.turn_of('a'):
        pass
    assert watch.shares() == {}


def test_cores_come_before_their_hyper_threads(monkeypatch):
    monkeypatch.setattr(machine, '_siblings', lambda core: f'core {core // 2}')
    assert machine.choose_cores({0, 1, 2, 3}, 2) == [0, 2]
    assert machine.choose_cores({0, 1, 2, 3}, 3) == [0, 1, 2]
    assert machine.choose_cores({1, 3, 7}, 2) == [1, 3]
    assert machine.choose_cores({5}, 2) == [5]


def test_the_lineup_begins_with_this_project_and_names_its_peers():
    names = [entrant.name for entrant in lineup.entrants(list(lineup.PEERS), 'python')]
    assert names == ['ours', *lineup.PEERS, 'matrix_product']
    with pytest.raises(UserError, match="did you mean 'keras'"):
        lineup.entrants(['kers'], 'python')


# The script.


@pytest.mark.parametrize(
    ('flag', 'message'),
    [
        ('--models=tinyvg@32', "did you mean 'tinyvgg'"),
        ('--peers=kers', "did you mean 'keras'"),
        ('--rounds=0', 'rounds'),
        ('--models=', 'nothing to train'),
    ],
)
def test_a_mistake_is_told_in_one_line(flag, message):
    done = run_script('benchmarks.peers', flag)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_output_that_cannot_be_written_is_told_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, 'use_cores', lambda: [0])
    (tmp_path / 'file').write_text('')
    for output, problem in (
        (tmp_path, '--output: .* a folder'),
        (tmp_path / 'file' / 'x', 'file: Not a directory; choose another --output'),
    ):
        with pytest.raises(UserError, match=problem):
            report.run([WORKLOAD], fakes('Failing'), SETTINGS, str(output))


def test_the_table_leaves_blank_who_was_left_out_and_says_why(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(machine, 'use_cores', lambda: [0])
    absent = Entrant('absent', 'no_such_package:X', install='install it')
    entrants = fakes('Ours', 'Fake')
    entrants[1:1] = [absent]
    output = tmp_path / 'new' / 'peers.json'
    report.run([WORKLOAD] * 2, entrants, SETTINGS, str(output))
    told = capsys.readouterr().out
    assert told.count('absent is left out') == 1
    assert told.splitlines()[-1].startswith('without absent: No module named')
    row = 'linear     10  2,000  1,000   2.00      2.00   0.000'
    assert [' '.join(line.split()) for line in told.splitlines()].count(
        ' '.join(row.split())
    ) == 2
    written = json.loads(output.read_text())
    assert written['left_out'].keys() == {'absent'}
    assert written['versions']['ours'] == {'fake': '1.0'}
    assert len(written['workloads']) == 2


@pytest.mark.slow
def test_this_project_is_measured_alone(tmp_path):
    output = tmp_path / 'peers.json'
    flags = ('--models=linear@32', '--peers=', '--quick', f'--output={output}')
    done = run_script('benchmarks.peers', *flags)
    assert done.returncode == 0, done.stderr
    assert 'linear     32' in done.stdout
    written = json.loads(output.read_text())
    assert written['settings']['threads'] == 2
    (result,) = written['workloads']
    # From logits of small random weights: ln 10, and less after each update.
    first, *_, last = result['losses']['ours']
    assert first == pytest.approx(math.log(10), rel=0.1)
    assert last < first
    assert result['flops_per_image'] == 2 * 2 * 784 * 10
    assert result['summary']['best_peer'] is None
    assert len(result['rounds']) == 2
    assert result['rounds'][0]['ours']['steps'] <= result['steps_per_epoch']


INTERRUPTED = """
import signal
from benchmarks import lineup, peers
from benchmarks.process import Entrant
from fmnist_jax import cli

# Where the tests run in the background of a shell, it is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

endless = Entrant('ours', 'tests.fake_competitors:Endless')
lineup.entrants = lambda peers, keras_python: [endless]
cli.run(peers.main)
"""


def test_control_c_ends_the_competitors_too(tmp_path):
    process = subprocess.Popen(
        [sys.executable, '-c', INTERRUPTED, '--models=linear@10'],
        cwd=ROOT,
        env=os.environ | {'TMPDIR': str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (files := list(tmp_path.glob('*/endless'))):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    pid = int(files[0].read_text())
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[1] == 'interrupted\n'
    assert process.returncode == 130
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert list(tmp_path.iterdir()) == []
