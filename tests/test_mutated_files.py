"""Damaged files through the loaders: some hundreds of benchmarks.mutated_files.

What a file holds is told by other code than the loaders': benchmarks/mutations.
"""

import dataclasses
import gzip
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from benchmarks.mutations import (
    idx_judge,
    idx_trials,
    image_headers,
    image_trials,
    outcome,
    report,
    runs,
)
from benchmarks.mutations.process import Worker
from benchmarks.mutations.trial import Trial
from fmnist_jax.data import Dataset
from tests.conftest import run_script
from tests.mistakes import assert_fails

pytestmark = pytest.mark.skipif(
    not Path('/proc/self/clear_refs').exists(), reason='needs Linux'
)


@pytest.fixture(scope='module')
def real(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Fashion-MNIST's test images and labels."""
    return dataset.arrays['test_images'][..., 0], dataset.arrays['test_labels']


def assert_right(counts: dict) -> None:
    assert not any(counts['problems'].values()), counts['first_problems']
    assert counts['read'] > 40
    assert counts['refused'] > 40
    assert counts['slowest']['seconds'] < 20


@pytest.mark.slow
def test_idx_files_are_read_right_or_refused(real):
    counts = runs.try_idx(*real, count=232, seed=1).report()
    assert counts['tried'] == 232
    assert len(counts['kinds']) == 29
    assert_right(counts)
    for kind in ('intact', 'gzip: intact', 'gzip: several members'):
        assert counts['kinds'][kind] == {'tried': 8, 'read': 8}
    for kind in ('extended', 'gzip: extended', 'gzip: wrong checksum or length'):
        assert counts['kinds'][kind] == {'tried': 8, 'refused': 8}


@pytest.mark.slow
def test_image_files_are_read_or_refused(real):
    counts = runs.try_images(real[0], count=112, seed=1).report()
    assert counts['tried'] == 112
    assert len(counts['kinds']) == 14
    assert_right(counts)
    assert counts['kinds']['intact'] == {'tried': 8, 'read': 8}
    assert counts['kinds']['rubbish'] == {'tried': 8, 'refused': 8}


def test_the_same_seed_gives_the_same_files(real):
    folders = idx_trials.make_folders(*real)
    for make in (
        lambda seed: idx_trials.trials(folders, 29, seed),
        lambda seed: image_trials.trials(real[0], 4, seed),
    ):
        assert list(make(3)) == list(make(3))
        assert list(make(3)) != list(make(4))


def test_a_worker_that_crashes_or_hangs_is_told_and_replaced(real, tmp_path):
    idx_trials.write_folders(idx_trials.make_folders(*real), tmp_path)
    path = tmp_path / 'one' / idx_trials.NAMES['test_labels']
    with Worker('idx', seconds=60, log=tmp_path / 'log') as worker:
        assert worker.read(path)['result']['shape'] == [1]
        os.kill(worker.pid, signal.SIGSEGV)
        assert worker.read(path) == {'crash': -signal.SIGSEGV}
        assert worker.read(path)['result']['shape'] == [1]
    with Worker('idx', seconds=0.01, log=tmp_path / 'log') as worker:
        # It takes longer to start.
        assert worker.read(path) == {'hang': 0.01}


GOOD = {'shape': [3], 'dtype': 'uint8', 'sha256': 'x'}
READ = {
    'result': {**GOOD, 'is_native': True},
    'seconds': 0.1,
    'bytes': 10,
    'all': {'result': None, 'seconds': 0.1, 'bytes': 10},
}
# What an answer says, and what is wrong with it.
ANSWERS = {
    'right': (READ, []),
    'crash': ({'crash': -11}, ['crash']),
    'hang': ({'hang': 30}, ['hang']),
    'exception': (
        {'raised': 'ValueError: x', 'seconds': 0.1, 'bytes': 10},
        ['other exception'],
    ),
    'exception of the folder': (
        READ | {'all': {'raised': 'KeyError: 3', 'seconds': 0.1, 'bytes': 10}},
        ['other exception'],
    ),
    'another shape': (
        READ | {'result': {**GOOD, 'shape': [4], 'is_native': True}},
        ['disagrees with its header'],
    ),
    'other bytes': (
        READ | {'result': {**GOOD, 'sha256': 'y', 'is_native': True}},
        ['disagrees with its header'],
    ),
    'message of two lines': (
        {'refused': 'two\nlines', 'seconds': 0.1, 'bytes': 10},
        ['message not of one line'],
    ),
    'memory': (READ | {'bytes': 2**20 + 7}, ['too much memory']),
}


@pytest.mark.parametrize('case', ANSWERS)
def test_what_is_wrong_is_noticed(case):
    answer, problems = ANSWERS[case]
    trial = Trial('any', 'one', 'x-labels', b'', None, honest_bytes=3)
    if 'result' in answer:
        trial = dataclasses.replace(trial, expected=GOOD, is_judged=True)
    assert outcome.problems_of(trial, answer) == problems


def test_a_good_file_refused_and_a_bad_one_read_are_noticed():
    refused = {'refused': 'no', 'seconds': 0.1, 'bytes': 1, 'all': {'refused': 'no'}}
    good = Trial('any', 'one', 'x-labels', b'', GOOD, True)
    assert outcome.problems_of(good, refused) == ['refused without a reason']
    bad = Trial('any', 'one', 'x-labels', b'', None, True)
    assert outcome.problems_of(bad, refused) == []
    assert outcome.problems_of(bad, READ) == ['disagrees with its header']


def test_an_image_of_another_size_is_noticed(real):
    content = next(image_trials.intact(real[0]))
    answer = {'result': {'size': [28, 28]}, 'seconds': 0.1, 'bytes': 1}
    trial = Trial('any', '', 'image', content)
    assert outcome.problems_of(trial, answer) == []
    answer['result'] = {'size': [28, 27]}
    assert outcome.problems_of(trial, answer) == ['disagrees with its header']
    answer['bytes'] = 2**25
    assert 'too much memory' in outcome.problems_of(trial, answer)


def test_the_judge_tells_what_a_file_holds(real):
    labels = idx_trials.encode(real[1][:300])
    expected, honest = idx_judge.judge('labels', labels)
    assert (expected['shape'], expected['dtype'], honest) == ([300], 'uint8', 300)
    packed = gzip.compress(labels)
    assert idx_judge.judge('labels.gz', packed) == (expected, 300)
    assert idx_judge.judge('labels.gz', packed[:-1])[0] is None
    assert idx_judge.judge('labels', labels[:-1]) == (None, 299)
    assert idx_judge.judge('labels', labels + b'x') == (None, 300)
    assert idx_judge.judge('images', labels) == (None, 0)


def test_headers_of_image_files_tell_their_size(real):
    contents = list(image_trials.intact(real[0][:, :, :20]))
    sizes = [image_headers.size_of(content) for content in contents]
    assert sizes.count((20, 28)) > 12
    assert set(sizes) == {(20, 28), None}


@pytest.mark.slow
def test_the_command_writes_its_counts(tmp_path):
    output = tmp_path / 'counts.json'
    arguments = ('--idx=29', '--images=5', '--seed=2', f'--output={output}')
    done = run_script('benchmarks.mutated_files', *arguments)
    assert done.returncode == 0, done
    counts = json.loads(output.read_text())
    assert json.loads(done.stdout) == counts
    assert (counts['seed'], counts['idx']['tried']) == (2, 29)
    assert report.num_problems(counts) == 0
    counts['images']['problems']['hang'] = 1
    assert report.num_problems(counts) == 1


@pytest.mark.parametrize(
    ('argument', 'part'),
    [
        ('--idx=-1', '--idx'),
        ('--seed=x', '--seed'),
        ('--output=/proc/nowhere/x.json', 'choose another --output'),
        ('--output=tests', 'is a folder; name a file'),
    ],
)
def test_a_mistake_in_the_flags_is_one_line(argument, part):
    assert_fails(run_script('benchmarks.mutated_files', argument), part)
