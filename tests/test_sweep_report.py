"""What a sweep tells of its runs: the file, the table and the winner."""

import itertools
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from etils import epath

from fmnist_jax.errors import UserError
from fmnist_jax.grid import Axis
from fmnist_jax.reporting.comparison.compare import compare
from fmnist_jax.reporting.sweep.finish import finish, write_grid_figure
from fmnist_jax.reporting.sweep.labels import describe, value_labels
from fmnist_jax.reporting.sweep.outcomes import Outcome, write_outcomes
from fmnist_jax.reporting.sweep.points import find_winner, group, rank, ties
from fmnist_jax.reporting.sweep.table import MAX_ROWS, to_text
from tests.kept_runs import make_run
from tests.sweeps import GRID, LONG, RATES, SIZES, always, arrays, outcomes_of


def test_the_file_holds_what_users_rely_on(tmp_path):
    pending = Outcome('runs/g/a', {'augmentation': ()}, 3, 'pending')
    running = Outcome('runs/g/b', {'batch_size': 8, 'model.x': None}, 4, 'running', 0.5)
    write_outcomes(epath.Path(tmp_path / 'g'), [pending, running])
    assert json.loads((tmp_path / 'g' / 'sweep.json').read_text()) == [
        {
            'workdir': 'runs/g/a',
            'overrides': {'augmentation': []},
            'seed': 3,
            'status': 'pending',
            'validation_accuracy': None,
        },
        {
            'workdir': 'runs/g/b',
            'overrides': {'batch_size': 8, 'model.x': None},
            'seed': 4,
            'status': 'running',
            'validation_accuracy': 0.5,
        },
    ]


def test_mean_and_spread_are_numpys():
    outcomes = outcomes_of(diverged=lambda overrides, seed: seed == 0)
    points = group(outcomes)
    values = arrays(GRID, outcomes).reshape(6, 3)
    assert [point.mean for point in points] == pytest.approx(np.nanmean(values, 1))
    stds = np.nanstd(values, 1, ddof=1)
    assert [point.std for point in points] == pytest.approx(stds)
    assert [point.num_diverged for point in points] == [1] * 6
    assert [point.overrides for point in points] == [o.overrides for o in outcomes[::3]]


def test_one_seed_has_no_spread_and_none_no_mean():
    (one,) = group(outcomes_of((), seeds=1, accuracy=always(0.5)))
    assert (one.mean, one.std, one.num_diverged) == (0.5, None, 0)
    (none,) = group(outcomes_of((), seeds=2, diverged=lambda *_: True))
    assert (none.mean, none.std, none.num_diverged) == (None, None, 2)


def test_the_winner_has_the_highest_mean():
    outcomes = outcomes_of()
    means = arrays(GRID, outcomes).mean(2).reshape(-1)
    points = group(outcomes)
    assert find_winner(points) is points[means.argmax()]
    assert rank(points) == [points[i] for i in np.argsort(-means)]
    assert ties(points, points[0]) == []


def test_survivors_alone_win_nothing_unless_there_is_nothing_else():
    def accuracy(overrides, seed):
        return {0.1: 0.95, 0.001: 0.9, 0.01: 0.99}[overrides[RATES.field]]

    def diverged(overrides, seed):
        return seed < {0.1: 1, 0.001: 0, 0.01: 2}[overrides[RATES.field]]

    points = group(outcomes_of((RATES,), 3, accuracy, diverged))
    order = [point.overrides[RATES.field] for point in rank(points)]
    assert order == [0.001, 0.1, 0.01]
    assert find_winner(points) is points[1]
    # Where every point has lost some, the one that has lost the fewest.
    assert find_winner([points[0], points[2]]) is points[0]
    assert find_winner(group(outcomes_of(diverged=lambda *_: True))) is None
    assert find_winner([]) is None


def test_a_run_that_has_not_finished_does_not_count_for_its_point():
    done, half = group(
        [
            Outcome('a', {'batch_size': 8}, 0, 'finished', 0.5),
            Outcome('b', {'batch_size': 8}, 1, 'finished', 0.5),
            Outcome('c', {'batch_size': 9}, 0, 'finished', 0.9),
            Outcome('d', {'batch_size': 9}, 1, 'running', 0.9),
        ]
    )
    assert (half.accuracies, half.num_diverged) == ([0.9], 0)
    assert find_winner([half, done]) is done


def test_of_equals_the_first_in_the_grid_wins():
    # The same accuracies in another order have the same mean.
    def accuracy(overrides, seed):
        return [0.1, 0.2, 0.3][seed if overrides['batch_size'] == 100 else 2 - seed]

    points = group(outcomes_of((SIZES,), 3, accuracy))
    assert find_winner(points) is points[0]
    assert ties(points, points[0]) == [points[1]]


def test_long_values_are_cut_and_stay_distinct():
    labels = list(value_labels(LONG).values())
    assert len(set(labels)) == 2
    assert all(len(label) <= 28 for label in labels)
    many = Axis('model.x', tuple('a' * 50 + 'b' * i + 'a' * 50 for i in range(3)))
    assert len(set(value_labels(many).values())) == 3
    odd = Axis('model.x', ('\x1b[31m\n', '', None, (), 1.0, 1e-05, 100.0))
    labels = list(value_labels(odd).values())
    assert labels == ['\\x1b[31m\\n', "''", 'None', 'none', '1', '1e-05', '100']


def test_points_are_told_by_short_names():
    axes = (Axis('data.mean', (0.5,)), Axis('model.mean', (1.0,)), SIZES)
    overrides = {'data.mean': 0.5, 'model.mean': 1.0, 'batch_size': 500}
    expected = 'data.mean=0.5, model.mean=1, batch_size=500'
    assert describe(overrides, axes) == expected


def test_the_table_is_sorted_and_marks_what_diverged():
    outcomes = outcomes_of(
        diverged=lambda overrides, seed: overrides[RATES.field] == 0.1 and seed < 2
    )
    lines = to_text(GRID, group(outcomes)).splitlines()
    header, _, *rows = (re.split(r'  +', line.strip()) for line in lines)
    assert header == ['learning_rate', 'batch_size', 'val. acc. %', 'seeds', 'diverged']
    values = 100 * arrays(GRID, outcomes).reshape(6, 3)
    expected = []
    for (rate, size), own in zip(
        itertools.product(RATES.values, SIZES.values), values, strict=True
    ):
        left = own[~np.isnan(own)]
        spread = f' ± {left.std(ddof=1):.2f}' if len(left) > 1 else ''
        expected.append(
            [
                f'{rate:g}',
                f'{size}',
                f'{left.mean():.2f}{spread}',
                f'{len(left)}',
                f'{3 - len(left)}' if len(left) < 3 else '-',
            ]
        )
    by_mean = sorted(expected, key=lambda row: (row[4] != '-', -float(row[2][:5])))
    assert rows == by_mean
    assert 'diverged' not in to_text(GRID, group(outcomes_of()))


def test_without_a_grid_the_table_is_of_seeds():
    outcomes = outcomes_of((), 3, always(0.5), lambda overrides, seed: seed == 1)
    lines = to_text((), group(outcomes)).splitlines()
    assert [line.split() for line in lines[2:]] == [
        ['0', '50.00'],
        ['1', 'diverged'],
        ['2', '50.00'],
        ['mean', '50.00', '±', '0.00'],
    ]


def test_of_many_points_the_best_are_in_the_table():
    many = Axis('batch_size', tuple(range(1, 101)))
    points = group(outcomes_of((many,), 1, lambda o, _: o['batch_size'] / 1000))
    lines = to_text((many,), points).splitlines()
    assert lines[2].split()[:2] == ['100', '10.00']
    assert len(lines) == 2 + MAX_ROWS + 1
    assert lines[-1] == f'… and {100 - MAX_ROWS} further points'


def told(folder: Path, axes, outcomes) -> list[str]:
    lines: list[str] = []
    finish(epath.Path(folder), axes, outcomes, lines.append)
    return '\n'.join(lines).splitlines()


def test_the_end_tells_the_winner_and_what_to_do_next(tmp_path):
    folder = tmp_path / 'a sweep'
    runs = [make_run(folder / f'seed={seed}', seed) for seed in range(2)]
    outcomes = [
        Outcome(str(run), {'batch_size': 64}, seed, 'finished', 0.9 + seed / 100)
        for seed, run in enumerate(runs)
    ]
    worse = Outcome('b', {'batch_size': 32}, 0, 'finished', 0.8)
    axes = (Axis('batch_size', (32, 64)),)
    lines = told(folder, axes, [worse, *outcomes])
    (winner,) = (line for line in lines if line.startswith('winner:'))
    assert winner.endswith(
        'batch_size=64, with a validation accuracy of 90.50 ± 0.71 %'
    )
    commands = [
        shlex.split(line.split(': ', 1)[1])
        for line in lines
        if line.startswith(('evaluate:', 'compare:'))
    ]
    assert [command[1:] for command in commands] == [
        *(['-m', 'fmnist_jax.evaluate', f'--workdir={run}'] for run in runs),
        ['-m', 'fmnist_jax.compare', str(folder), f'--output={folder}/comparison'],
    ]
    # What is told to be written is there, and what is told to be done works.
    for name in ('grid.png', 'grid.pdf'):
        assert f'written: {folder}/{name}' in lines
        assert (folder / name).stat().st_size > 5000
    (group_,) = compare([commands[-1][3]], folder / 'comparison', log=lambda _: None)
    assert len(group_.runs) == 2


def test_the_end_names_what_diverged_and_ties(tmp_path):
    outcomes = outcomes_of(
        GRID, 1, always(0.5), lambda overrides, _: overrides[RATES.field] == 0.1
    )
    text = '\n'.join(told(tmp_path, GRID, outcomes))
    assert '2 of 6 runs have diverged' in text
    for number in (0, 1):
        assert f'diverged: runs/grid/{number}: the loss at step 7 is not' in text
    assert 'winner: learning_rate=0.001, batch_size=100, with' in text
    assert (
        'As good, but later in the grid: learning_rate=0.001, batch_size=500; '
        'learning_rate=0.01, batch_size=100; learning_rate=0.01, batch_size=500.'
    ) in text


def test_an_end_without_a_winner_says_so(tmp_path):
    outcomes = outcomes_of(seeds=2, diverged=lambda *_: True)
    lines = told(tmp_path, GRID, outcomes)
    assert 'There is no winner: no run has finished.' in lines
    assert not any(line.startswith(('winner', 'evaluate', 'compare')) for line in lines)
    # Of a dozen, some are named.
    assert sum(line.startswith('diverged: runs/') for line in lines) == 5
    assert 'diverged: 7 others; see sweep.json' in lines
    assert (tmp_path / 'grid.png').exists()


def test_seeds_alone_have_no_winner_to_choose(tmp_path):
    lines = told(tmp_path, (), outcomes_of((), 7))
    assert not any(line.startswith('winner') for line in lines)
    assert sum(line.startswith('evaluate: ') for line in lines) == 6
    assert 'evaluate: likewise the 2 other seeds' in lines


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / 'grid.png').mkdir()
    with pytest.raises(UserError, match=r'cannot write .*grid\.png'):
        write_grid_figure(epath.Path(tmp_path), GRID, outcomes_of())
