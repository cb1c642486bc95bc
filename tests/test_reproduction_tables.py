"""Published figures beside ours, against NumPy."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from fmnist_jax import workdir as workdir_lib
from results import tables
from results.figure_files import data_of
from results.reproduction import figures
from results.reproduction import runs as runs_lib
from results.reproduction.comparison import compare, read_project
from results.reproduction.recipes import PROJECTS, RECIPES
from results.reproduction.recipes.recipe import Reading
from results.reproduction.tables import (
    UnexplainedError,
    agreement_table,
    project_table,
)
from tests import reproducing
from tests.conftest import ROOT
from tests.kept_runs import SEEDS, read_markdown
from tests.reproducing import BY_NAME, RUNS, TINY, at, lines_of, recipe_of, write_sweep


@pytest.fixture
def runs(tmp_path) -> Path:
    return reproducing.copy_runs(tmp_path / 'runs')


def test_sweeps_without_a_suggestion_are_counted(tmp_path):
    recipe = BY_NAME['keras_tinyvgg-lr_range_test']
    accuracies = (0.79, 0.80, 0.78, 0.81, 0.795)
    suggestions = (1e-3, None, 2e-3, None, 1.5e-3)
    for seed, (found, accuracy) in enumerate(zip(suggestions, accuracies, strict=True)):
        folder = tmp_path / runs_lib.GROUP / recipe.name / f'seed{seed}'
        write_sweep(folder, found, accuracy=accuracy)
    comparisons = compare(tmp_path, recipe)
    made = project_table(comparisons)
    header, published, ours = read_markdown(made)
    column = header.index('learning rate')
    assert published[column] == '1e-3'
    assert ours[column] == '0.00150 ± 0.00050 (2 without)'
    assert ours[header.index('test accuracy')] == '79.50 ± 1.12 %'
    assert '- learning-rate sweep over 50 epochs: learning rate. It was read' in made
    # All but the learning rate are judged.
    _, row, _ = read_markdown(agreement_table([comparisons]))
    assert row[3:5] == ['3', '0']
    for seed in range(5):
        folder = tmp_path / runs_lib.GROUP / recipe.name / f'seed{seed}'
        shutil.rmtree(folder)
        write_sweep(folder, None, accuracy=accuracies[seed])
    made = project_table(compare(tmp_path, recipe))
    assert read_markdown(made)[-1][column] == '-'


def last_accuracies(runs: Path) -> np.ndarray:
    last = [lines_of(runs, seed)['validation'][-1] for seed in range(5)]
    return np.array([100 * line['accuracy'] for line in last])


@pytest.mark.parametrize(('deviations', 'is_beyond'), [(-2.3, True), (2.1, False)])
def test_a_difference_is_judged_by_the_spread_of_a_further_run(
    deviations, is_beyond, runs
):
    values = last_accuracies(runs)
    # 2·√(1 + 1/5) = 2.19 standard deviations.
    published = values.mean() + deviations * values.std(ddof=1)
    reading = Reading(published={'test_accuracy': repr(float(published))})
    (comparison,) = compare(runs, recipe_of(reading))
    assert comparison.limit('test_accuracy') == pytest.approx(
        2 * np.std(values, ddof=1) * np.sqrt(1 + 1 / 5)
    )
    assert comparison.beyond == (['test_accuracy'] if is_beyond else [])


def test_the_table_has_means_and_deviations(runs):
    values = last_accuracies(runs)
    reading = Reading('at the end', published={'test_accuracy': f'{values.mean():.2f}'})
    made = project_table(compare(runs, recipe_of(reading)))
    header, published, ours = read_markdown(made)
    assert header[2:] == [
        'train loss',
        'train accuracy',
        'test loss',
        'test accuracy',
        'runs',
        'fastest',
    ]
    assert published[:2] == ['a row, at the end', 'published']
    assert published[5] == f'{values.mean():.2f} %'
    assert ours[5] == f'{values.mean():.2f} ± {values.std(ddof=1):.2f} %'
    losses = [lines_of(runs, seed)['train'][-1]['loss'] for seed in range(5)]
    assert ours[2] == f'{np.mean(losses):.4f} ± {np.std(losses, ddof=1):.4f}'
    seconds = [
        sum(line['seconds'] for line in lines_of(runs, seed)['train'])
        for seed in range(5)
    ]
    assert ours[6:] == ['5', f'{min(seconds):.1f} s']
    assert 'beyond ours ± 2·s·√(1 + 1/n): 0 of 1.' in made


def test_an_explained_difference_is_told_and_another_is_an_error(runs):
    values = last_accuracies(runs)
    last = [lines_of(runs, seed)['validation'][-1] for seed in range(5)]
    losses = np.array([line['loss'] for line in last])
    reading = Reading(
        published={'test_accuracy': '50.00', 'test_loss': f'{losses.mean():.4f}'},
        explanations={'test_accuracy': 'Half of the labels were wrong.'},
    )
    comparisons = compare(runs, recipe_of(reading))
    made = project_table(comparisons)
    assert f'**{values.mean():.2f} ± {values.std(ddof=1):.2f} %**' in made
    assert 'beyond ours ± 2·s·√(1 + 1/n): 1 of 2:' in made
    (line,) = (line for line in made.splitlines() if line.startswith('- '))
    assert line.startswith('- a row: test accuracy 50.00 % published, ')
    assert line.endswith('. Half of the labels were wrong.')
    unexplained = dataclasses.replace(reading, explanations={})
    with pytest.raises(UnexplainedError, match=r'50\.00 % and is .* here'):
        project_table(compare(runs, recipe_of(unexplained)))


def test_agreement_is_counted_by_project(runs):
    values = last_accuracies(runs)
    readings = (
        Reading(published={'test_accuracy': '50.00', 'train_accuracy': '50.00'}),
        Reading(
            epoch='lowest_loss', published={'test_accuracy': f'{values.mean():.2f}'}
        ),
    )
    comparisons = [
        *compare(runs, recipe_of(*readings)),
        *compare(runs, TINY),
    ]
    _, row, total = read_markdown(agreement_table([comparisons, comparisons]))[1:]
    found = {'train': [], 'validation': []}
    lowest = []
    for seed in range(5):
        lines = lines_of(runs, seed)
        for split, accuracies in found.items():
            accuracies.append(100 * lines[split][-1]['accuracy'])
        index = at(lines, 'lowest_loss')
        lowest.append(100 * lines['validation'][index]['accuracy'])
    figures_and_ours = (
        (50.0, found['validation']),
        (50.0, found['train']),
        (round(values.mean(), 2), lowest),
    )
    beyond = sum(
        abs(np.mean(ours) - figure) > 2 * np.std(ours, ddof=1) * np.sqrt(6 / 5)
        for figure, ours in figures_and_ours
    )
    # P(|t| > 2) with four degrees of freedom, from a table of Student's t.
    assert row == ['S2', '1 of 2', '5', '3', str(beyond), f'{3 * 0.1161:.1f}']
    assert total[3:] == ['6', str(2 * beyond), f'{6 * 0.1161:.1f}']


def test_a_row_is_judged_when_all_its_runs_are_there(runs):
    shutil.rmtree(runs / runs_lib.GROUP / 'real' / 'seed3')
    reading = Reading(published={'test_accuracy': '50.00'})
    made = project_table(compare(runs, recipe_of(reading)))
    *_, ours = read_markdown(made)
    assert ours[-2] == '4 of 5 so far'
    assert 'No row with published figures is complete yet.' in made


def test_one_run_has_no_spread_to_judge_by(runs):
    reading = Reading(published={'test_accuracy': '50.00'})
    recipe = recipe_of(reading, num_seeds=1)
    (comparison,) = compare(runs, recipe)
    assert comparison.limit('test_accuracy') is None
    *_, ours = read_markdown(project_table([comparison]))
    assert ours[-2] == '1: no spread to judge by'
    assert '±' not in ours[5]


def test_rows_that_are_not_run_say_so(tmp_path):
    reading = Reading(published={'test_accuracy': '50.00'})
    for fields, expected in (
        ({}, 'not measured yet'),
        ({'not_run': 'needs an accelerator'}, 'not measured: needs an accelerator'),
    ):
        recipe = recipe_of(reading, **fields)
        made = project_table(compare(tmp_path, recipe))
        *_, ours = read_markdown(made)
        assert ours == ['', 'here', '-', expected, '']


def test_runs_that_diverged_are_counted_and_left_out(runs):
    values = last_accuracies(runs)[[0, 2, 3, 4]]
    for seed, (name, folder) in enumerate(
        (p.name, p) for p in sorted((runs / runs_lib.GROUP / 'real').iterdir())
    ):
        assert name == f'seed{seed}'
        if seed == 1:
            (folder / 'metrics.jsonl').write_text('')
            (folder / workdir_lib.DIVERGENCE).write_text('{"message": "diverged"}')
    reading = Reading(published={'test_accuracy': f'{values.mean():.2f}'})
    recipe = recipe_of(reading)
    *_, ours = read_markdown(project_table(compare(runs, recipe)))
    assert ours[-2] == '5, 1 diverged'
    assert ours[5] == f'{values.mean():.2f} ± {values.std(ddof=1):.2f} %'
    for folder in (runs / runs_lib.GROUP / 'real').iterdir():
        (folder / workdir_lib.DIVERGENCE).write_text('{"message": "diverged"}')
    *_, ours = read_markdown(project_table(compare(runs, recipe)))
    assert ours == ['', 'here', '-', '5, 5 diverged', '']


def test_runs_that_learned_nothing_are_counted(runs):
    for seed in (0, 3):
        path = runs / runs_lib.GROUP / 'real' / f'seed{seed}' / 'metrics.jsonl'
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            line['accuracy'] = 0.0979
        path.write_text(''.join(json.dumps(line) + '\n' for line in lines))
    figures_ = {'train_accuracy': '9.79', 'test_accuracy': '9.99'}
    reasons = dict.fromkeys(figures_, 'One or the other.')
    recipe = recipe_of(Reading(published=figures_, not_judged=reasons))
    comparisons = compare(runs, recipe)
    made = project_table(comparisons)
    *_, published, ours = read_markdown(made)
    assert published[-2] == '1, 1 at chance'
    assert ours[-2] == '5, 2 at chance, left out'
    files = [
        runs / runs_lib.GROUP / 'real' / f'seed{seed}' / 'metrics.jsonl'
        for seed in (1, 2, 4)
    ]
    last = [json.loads(path.read_text().splitlines()[-1]) for path in files]
    test = [100 * line['accuracy'] for line in last]
    assert ours[5] == f'{np.mean(test):.2f} ± {np.std(test, ddof=1):.2f} %'
    assert (
        '- a row: train accuracy, test accuracy. One or the other. At chance: 1 of 1 '
        'published, 2 of 5 here.\n'
    ) in made
    # Means of some are neither judged nor marked, however far.
    assert '**' not in made
    _, row, _ = read_markdown(agreement_table([comparisons]))
    assert row[3:] == ['0', '0', '0.0']


def test_published_figures_have_their_own_digits():
    shown = {}
    for project in PROJECTS:
        comparisons = read_project(RUNS, project)
        for row in read_markdown(project_table(comparisons)):
            shown[row[0]] = row
    assert '0.3530' in shown['tinyvgg, original + augmented']
    assert '0.3080' in shown['tinyvgg, 5 epochs']
    assert '1e-3' in shown['learning-rate sweep over 50 epochs']
    assert '3.81149' in shown['linear_v0, epoch 10']
    row = shown['bn_cnn, batch 1000, learning rate 0.001, epoch 25, as S4 computed it']
    assert '0.310' in row


def test_rows_where_a_spread_means_nothing_are_not_judged():
    for name, metrics in (
        ('tinyvgg_sgd-lr_0.2', {'train_loss', 'train_accuracy'}),
        ('keras_tinyvgg-lr_range_test', {'learning_rate'}),
    ):
        (reading,) = BY_NAME[name].readings
        assert metrics <= reading.not_judged.keys()


def test_a_configs_docstring_says_what_came_out(runs, monkeypatch):
    values = last_accuracies(runs)
    readings = (Reading('at the end', published={'test_accuracy': '88.00'}),)
    rows = (recipe_of(*readings), dataclasses.replace(TINY, config='tinyvgg_sgd'))
    monkeypatch.setattr('results.reproduction.tables.RECIPES', rows)
    text = (
        '"""X.\n\nPublished, and here (tinyvgg_sgd in results/reproduction.md):\nold\n'
    )
    made = tables.render(text + '"""\n', runs)
    lines = made.splitlines()
    assert lines[3:] == [
        '- a row, at the end: test accuracy 88.00 %, here '
        f'{values.mean():.2f} ± {values.std(ddof=1):.2f} % (n = 5).',
        '- tiny: test accuracy 80.00 %, not measured yet.',
        '"""',
    ]
    assert tables.render(made, runs) == made


def test_every_config_of_the_projects_says_so():
    for path in sorted((ROOT / 'configs' / 'seeds').glob('*.py')):
        if path.stem not in ('__init__', 'default'):
            assert f'Published, and here ({path.stem} in ' in path.read_text()
            assert any(recipe.config_name == path.stem for recipe in RECIPES)


def test_the_page_has_a_table_of_each_project():
    text = (ROOT / 'results' / 'reproduction.md').read_text()
    for project in PROJECTS:
        assert f'<!-- table: reproduction {project} -->\n| run |' in text


def test_tables_fail_where_a_difference_is_not_explained(tmp_path):
    for name in ('results', 'configs', 'fmnist_jax'):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copyfile(ROOT / 'README.md', tmp_path / 'README.md')
    row = tmp_path / 'results' / 'runs' / runs_lib.GROUP / 'linear'
    shutil.rmtree(row, ignore_errors=True)
    for seed in range(5):
        shutil.copytree(SEEDS / f'seed{seed}', row / f'seed{seed}')
    done = subprocess.run(
        (sys.executable, '-m', 'results.tables'),
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith('error: linear (linear): train loss was published as 0.4629')
    assert 'results/reproduction/recipes/' in line


def test_the_figure_of_s4s_grid_shows_its_runs(tmp_path):
    (name,) = found = figures.read(RUNS)
    assert data_of(ROOT / 'results' / 'reproduction' / name) == found[name]
    assert len(found[name]) == 6 * 5
    one = found[name][7]
    batch_size, rate = one['overrides'].values()
    folder = (
        RUNS / 'reproduction' / f'bn_cnn-{batch_size}-{rate}' / f'seed{one["seed"]}'
    )
    lines = map(json.loads, (folder / 'metrics.jsonl').read_text().splitlines())
    best = max(line['accuracy'] for line in lines if line['split'] == 'validation')
    assert one['accuracy'] == best
    corners = [
        [
            100 * run['accuracy']
            for run in found[name]
            if tuple(run['overrides'].values()) == corner
        ]
        for corner in ((100, 0.001), (1000, 0.01))
    ]
    error = np.sqrt(sum(np.var(x, ddof=1) / 5 for x in corners))
    p = stats.ttest_ind(*corners, equal_var=False).pvalue
    difference = np.subtract(*map(np.mean, corners))
    text = f'(+{difference:.2f} ± {error:.2f} points, p = {p:.3f})'
    assert text in ' '.join((ROOT / 'results' / 'reproduction.md').read_text().split())
    path = tmp_path / name
    path.write_bytes(figures.draw(name, found[name]))
    assert data_of(path) == found[name]
    assert figures.read(tmp_path) == {}
