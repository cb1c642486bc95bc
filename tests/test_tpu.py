"""The kept figures of the compiler for TPUs, against what is known of the models."""

import json

import jax.numpy as jnp
import pytest

from benchmarks.work import training_flops
from fmnist_jax.models import create_model
from fmnist_jax.training.ahead_of_time.chips import CHIPS
from fmnist_jax.training.ahead_of_time.text import to_text
from fmnist_jax.training.ahead_of_time.topology import Topology
from fmnist_jax.training.state import abstract_variables, num_parameters
from results import tpu
from tests.conftest import ROOT

RUNS = ROOT / 'results' / 'runs'
COMPILED = tpu.read(RUNS, 'tpu')
REPORTS = [
    pytest.param(report, id=f'{name}-{report["topology"]}-{report["batch_per_core"]}')
    for name, reports in COMPILED.items()
    for report in reports
]


def test_every_config_is_compiled_for_8_256_and_1024_cores():
    assert COMPILED.keys() == tpu.CONFIGS.keys()
    models = set()
    for reports in COMPILED.values():
        assert {8, 256, 1024} <= {x['cores'] for x in reports}
        assert len(reports) == 5
        models |= {x['model'] for x in reports}
    assert {'tinyvgg', 'bn_cnn', 'arch1', 'arch2', 'vgg_like', 'linear'} <= models


@pytest.mark.parametrize('report', REPORTS)
def test_figures_are_those_of_the_model(report):
    slice_ = Topology.parse(report['topology'])
    assert report['cores'] == slice_.num_chips
    assert report['batch_size'] == report['batch_per_core'] * report['cores']
    assert report['batch_size'] <= report['num_train']
    step = report['training']
    assert step['memory']['total'] < report['memory_per_core'] == slice_.chip.memory
    # The useful work, of which XLA leaves out what is of padding, and not much else.
    model = create_model(report['model'], num_classes=10)
    useful = step['examples'] * training_flops(model, (28, 28, 1))
    # With few images XLA widens convolutions; the work of linear models is small
    # beside normalising and the optimizer.
    assert 0.95 < step['flops'] / useful < (4 if step['examples'] > 4 else 20)
    # All gradients and running averages, the loss, and how many were right, in one.
    variables = abstract_variables(model, (28, 28, 1), jnp.float32)
    assert num_parameters(variables['params']) == report['num_parameters']
    largest = max(step['collectives'], key=lambda x: x['bytes'])
    expected = 4 * (num_parameters(variables) + 2)
    assert largest == {'name': 'all-reduce', 'bytes': expected, 'count': 1}
    # The others are BatchNorm's, forward and back.
    assert (len(step['collectives']) > 1) == bool(variables['batch_stats'])
    assert step['roofline']['total'] <= step['estimated_seconds']


def test_a_row_of_the_tables_by_hand():
    reports = COMPILED['tinyvgg']
    tables = [
        make({'tinyvgg': reports}) for make in (tpu.steps_table, tpu.scaling_table)
    ]
    steps, scaling = ([r for r in t.splitlines() if '16x16' in r] for t in tables)
    small = {x['batch_per_core']: x for x in reports if x['topology'] == 'v5e:2x4'}
    (pod,) = [x for x in reports if x['topology'] == 'v5e:16x16']
    assert '| `tinyvgg` | `v5e:16x16` | 256 | 8 | 2,048 |' in steps[0]
    assert '| 1 x 31 kB |' in steps[0]
    clock = CHIPS['v5e'].clock
    cycles = pod['training']['cycles']
    image = (small[256]['training']['cycles'] - cycles) / 248 / clock
    fixed = cycles / clock - 8 * image
    steps, once = 55_000 // 2048, pod['training']['cycles_once_a_call']
    # 16 hops of a microsecond, there and back, hide 31 kB.
    batch = (fixed + once / clock / steps + 32e-6) / image
    assert f'| {batch:,.0f} | 214 |' in scaling[0]
    per_image = pod['training']['flops'] / 8
    assert f'| {32e-6 * 197e12 / per_image:,.0f} |' in scaling[0]


def test_a_report_in_words():
    report = COMPILED['tinyvgg'][0]
    told = to_text(report)
    assert '7,740 parameters, float32' in told
    assert 'nothing was run' in told
    assert '1 all-reduce of 31 kB' in told
    without = {key: x for key, x in report.items() if key != 'training'}
    assert 'all-reduce' not in to_text(without)


def test_what_does_not_fit_has_a_row_of_its_own():
    reports = json.loads(json.dumps(COMPILED['linear']))
    for report in reports:
        if report['topology'] == 'v5e:2x4':
            del report['training']
            report['error'] = 'training does not fit: needs 2.00 GiB of 1.00 GiB'
    row = tpu.steps_table({'linear': reports}).splitlines()[2]
    assert 'needs 2.00 GiB of 1.00 GiB' in row
    assert row.count('|') == tpu.steps_table({'linear': reports}).splitlines()[1].count(
        '|'
    )
    assert '`v5e:2x4`' not in tpu.scaling_table({'linear': reports})


def test_a_slice_that_was_not_compiled_has_no_row():
    compiled = {'tinyvgg': [x for x in COMPILED['tinyvgg'] if x['cores'] == 256]}
    (row,) = tpu.steps_table(compiled).splitlines()[2:]
    assert '`v5e:16x16`' in row
