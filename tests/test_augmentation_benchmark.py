"""`benchmarks.augmentation`: what it measures, and mistakes in its flags."""

import json

import numpy as np
import pytest

from benchmarks.turns import check_operations, summarize
from fmnist_jax.data.augmentation import OPERATIONS
from results.report_tables import augmentation_table
from tests.conftest import run_script
from tests.mistakes import assert_fails

SCRIPT = 'benchmarks.augmentation'


def test_medians_and_ratios_to_none_of_the_same_round():
    rounds = [
        {'none': 100.0, 'rotate': 90.0},
        {'none': 50.0, 'rotate': 40.0},
        {'none': 200.0, 'rotate': 120.0},
    ]
    summary = summarize(rounds)
    assert summary['none'] == {'images_per_second': 100.0, 'ratio': 1.0}
    assert summary['rotate'] == {'images_per_second': 90.0, 'ratio': 0.8}


@pytest.mark.slow
def test_a_quick_run(tmp_path):
    done = run_script(
        SCRIPT,
        '--batch_sizes=64',
        '--operations=horizontal_flip,cutout',
        '--rounds=2',
        '--seconds=0.05',
        f'--output={tmp_path}/new/measured.json',
    )
    assert done.returncode == 0, done
    report = json.loads((tmp_path / 'new' / 'measured.json').read_text())
    (workload,) = report['workloads']
    names = ['none', 'horizontal_flip', 'cutout']
    assert workload['batch_size'] == 64
    assert [list(measured) for measured in workload['rounds']] == [names, names]
    assert workload['summary'] == summarize(workload['rounds'])
    speeds = [x['images_per_second'] for x in workload['summary'].values()]
    assert np.all(np.array(speeds) > 100)
    for name in names:
        assert name in done.stdout


@pytest.mark.parametrize(
    ('argument', 'part'),
    [
        ('--batch_sizes=64,x', "--batch_sizes: 'x' is no whole number above 0"),
        ('--batch_sizes=0', "--batch_sizes: '0' is no whole number above 0"),
        ('--operations=rotat', "unknown augmentation 'rotat'; did you mean 'rotate'?"),
        ('--rounds=0', '--rounds=0'),
        ('--output=/', '--output: / is a folder; name a file'),
        ('--output=/proc/nowhere/file', 'cannot write to /proc/nowhere: '),
    ],
)
def test_mistakes_in_the_flags(argument, part):
    assert_fails(run_script(SCRIPT, argument), part)


def test_every_operation_is_measured():
    assert check_operations(None) == list(OPERATIONS)


def test_the_table_has_a_row_for_each_operation():
    measured = {'none': (1234.5, 1.0), 'rotate': (1000.0, 0.8149)}
    summary = {
        name: {'images_per_second': speed, 'ratio': ratio}
        for name, (speed, ratio) in measured.items()
    }
    # Rounds whose ratios are 0.6, 0.7, 0.8, 0.9 and 1: the quarters are at 0.7 and 0.9.
    rounds = [{'none': 1000, 'rotate': rate} for rate in (900, 600, 1000, 700, 800)]
    report = {
        'workloads': [
            {'batch_size': size, 'summary': summary, 'rounds': rounds}
            for size in (64, 250)
        ]
    }
    lines = augmentation_table(report).splitlines()
    assert lines[0].count('|') == lines[2].count('|') == 6
    assert 'batches of 64' in lines[0]
    assert 'batches of 250' in lines[0]
    assert lines[2:] == [
        f'| `none` |{" 1,234 | 1.00 (1.00 to 1.00) |" * 2}',
        f'| `rotate` |{" 1,000 | 0.81 (0.70 to 0.90) |" * 2}',
    ]
