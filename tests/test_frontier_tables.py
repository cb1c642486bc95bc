"""Tables and figures of results/frontier.md, from real runs kept as rows' own."""

import dataclasses
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import special

from benchmarks import timed_runs
from fmnist_jax.reporting.units import duration
from results import tables
from results.figure_files import data_of
from results.frontier import ablations, choices, figures, runs
from results.frontier import tables as frontier_tables
from results.frontier.rows import ROWS
from tests import frontier_rows as fake
from tests.conftest import ROOT
from tests.kept_runs import SEEDS, edit, figures_of, read_markdown

RUNS = ROOT / 'results' / 'runs'
FOLDER = ROOT / 'results' / 'frontier'
TABLES = (
    *('goals', 'calibration', 'choices', 'ablations', 'robustness', 'time'),
    'elsewhere',
)


@pytest.fixture
def rows(monkeypatch):
    """Small rows in the place of the real ones."""
    fake.use(monkeypatch)


def lines_of(table: str) -> list[dict[str, str]]:
    header, *rows = read_markdown(table)
    return [dict(zip(header, row, strict=True)) for row in rows]


def line_of(table: str, name: str) -> dict[str, str]:
    (line,) = [line for line in lines_of(table) if f'`{name}`' in line.values()]
    return line


def ablation(runs: Path, name: str) -> dict[str, str]:
    """A line of the ablations."""
    return line_of(ablations.ablations_table(runs), name)


def percents(values: list[float], digits: int = 2) -> str:
    """By NumPy."""
    mean, std = np.mean(values), np.std(values, ddof=1)
    return f'{100 * mean:.{digits}f} ± {100 * std:.{digits}f} %'


def set_accuracy(folder, accuracy: float) -> None:
    """Of the best epoch on validation, of a kept run; no other is as high."""
    lines = [json.loads(x) for x in (folder / 'metrics.jsonl').read_text().splitlines()]
    validation = [line for line in lines if line['split'] == 'validation']
    for line in validation:
        line['accuracy'] = 0.1
    validation[3]['accuracy'] = accuracy
    text = ''.join(json.dumps(line) + '\n' for line in lines)
    (folder / 'metrics.jsonl').write_text(text)


@pytest.mark.parametrize('kind', TABLES)
def test_the_page_has_every_table(kind):
    page = (ROOT / 'results' / 'frontier.md').read_text()
    assert f'<!-- table: {kind} all -->' in page


@pytest.mark.parametrize('kind', TABLES[:-1])
def test_without_runs_nothing_is_measured(kind, tmp_path):
    read, make = tables.TABLES[kind]
    lines = lines_of(make(read(tmp_path, 'all')))
    assert lines
    for line in lines:
        assert any(cell.startswith('not measured') for cell in line.values())
    if kind not in ('choices', 'robustness', 'goals', 'calibration'):
        return
    large = [row.name for row in ROWS if row.needs == 'accelerator']
    for line in lines:
        is_large = any(f'`{name}`' in line.values() for name in large)
        assert ('not measured: needs an accelerator' in line.values()) == is_large


def test_goals_beside_what_the_runs_came_to(rows, tmp_path):
    for seed in range(3):
        fake.put(tmp_path, fake.SCORED, seed)
    found = [figures_of(SEEDS / f'seed{seed}') for seed in range(3)]
    line = line_of(frontier_tables.goals_table(tmp_path), 'a')
    test = [one['test_accuracy'] for one in found]
    assert line['test'] == f'**{percents(test)}**'
    assert line['validation'] == percents([one['validation_accuracy'] for one in found])
    assert line['gap to the goal'] == f'{100 * np.mean(test) - 92:+.2f}'
    assert (line['parameters'], line['runs']) == ('7,740', '3')
    fastest = min(one['train_seconds'] for one in found)
    assert line['training'] == f'{fastest:.1f} s, 2 x cpu'
    assert line['command'] == '`python -m results.frontier a --workdir=runs/frontier`'


def test_views_and_ensembles_are_lines_that_no_goal_judges(rows, tmp_path):
    for seed in range(3):
        fake.put(tmp_path, fake.SCORED, seed)
    fake.put(tmp_path, fake.VIEWS, 0)
    fake.put_ensemble(tmp_path, 0.9234, 3 * 7740)
    table = frontier_tables.goals_table(tmp_path)
    views, ensemble = line_of(table, 'a-flip'), line_of(table, 'a-ensemble')
    assert views['gap to the goal'] == ensemble['gap to the goal'] == 'not judged'
    assert views['runs'] == '1 of 3'
    assert ensemble['test'] == '**92.34 %**'
    # Three members, each as fast as the fastest.
    times = [figures_of(SEEDS / f'seed{seed}')['train_seconds'] for seed in range(3)]
    assert ensemble['training'] == f'{duration(3 * min(times))}, 2 x cpu'
    assert ensemble['parameters'] == '23,220 (over)'


def test_a_model_beyond_the_limit_and_a_run_that_diverged_are_told(rows, tmp_path):
    folder = fake.put(tmp_path, fake.SCORED, 0)
    edit(folder / 'eval' / 'test' / 'metrics.json', num_parameters=8001)
    diverged = fake.put(tmp_path, fake.SCORED, 1)
    (diverged / 'divergence.json').write_text('{"message": ""}')
    line = line_of(frontier_tables.goals_table(tmp_path), 'a')
    assert line['parameters'] == '8,001 (over)'
    assert line['runs'] == '1 of 3, 1 diverged'


def test_calibration_is_judged_after_scaling(rows, tmp_path):
    errors, scaled = [0.02, 0.03], [0.004, 0.009]
    for seed in range(2):
        path = fake.put(tmp_path, fake.SCORED, seed) / 'eval' / 'test' / 'metrics.json'
        bins = [{'count': 10_000, 'confidence': 0.9}]
        values = {'temperature': 1.5, 'ece': scaled[seed], 'calibration_bins': bins}
        edit(path, ece=errors[seed], calibration=values)
    line = line_of(frontier_tables.calibration_table(tmp_path), 'a')
    assert line['ECE'] == '0.0250 ± 0.0071'
    assert line['ECE after scaling'] == '**0.0065 ± 0.0035**'
    assert line['gap to the goal'] == '+0.0015'
    # √(2 · 0.9 · 0.1 / (10,000 π))
    assert line['by chance alone'] == '0.0024'


def test_calibration_errors_of_chance_are_those_of_drawn_labels():
    random = np.random.default_rng(0)
    confidence = random.uniform(0.4, 1, 10_000) ** 0.2
    which = np.minimum((15 * confidence).astype(int), 14)
    bins = [
        {'count': np.sum(which == i), 'confidence': np.mean(confidence[which == i])}
        for i in np.unique(which)
    ]
    drawn = []
    for _ in range(300):
        hits = random.random(10_000) < confidence
        off = [
            abs(np.sum(hits[which == i] - confidence[which == i])) for i in range(15)
        ]
        drawn.append(np.sum(off) / 10_000)
    error = frontier_tables.chance_error(bins)
    np.testing.assert_allclose(error, np.mean(drawn), rtol=0.05)


def test_choices_are_trials_on_validation_alone(rows, tmp_path):
    fake.put(tmp_path, fake.TRIAL, 0)
    table = choices.choices_table(tmp_path)
    line = line_of(table, 'a-trial')
    found = figures_of(SEEDS / 'seed0')
    assert line['validation, best'] == f'{100 * found["validation_accuracy"]:.2f} %'
    assert line['of epoch'] == str(found['best_epoch'])
    assert 'the only trial' in line.values()
    assert 'test' not in ''.join(line)


def test_nothing_is_chosen_before_all_trials_are_there(rows, monkeypatch, tmp_path):
    other = dataclasses.replace(fake.TRIAL, name='a-trial-other')
    monkeypatch.setattr(choices, 'ROWS', (*fake.ROWS, other))
    fake.put(tmp_path, fake.TRIAL, 0)
    assert '**chosen**' not in choices.choices_table(tmp_path)
    folder = fake.put(tmp_path, other, 0)
    set_accuracy(folder, 0.1)
    assert '**chosen**' in line_of(choices.choices_table(tmp_path), 'a-trial').values()
    # That it diverged is a result, too.
    (folder / 'divergence.json').write_text('{"message": ""}')
    assert '**chosen**' in line_of(choices.choices_table(tmp_path), 'a-trial').values()


def test_ablations_are_compared_with_all_runs_without_the_part(rows, tmp_path):
    accuracies = {'base': [0.90, 0.92, 0.91], 'part': [0.905, 0.921]}
    for row in (fake.BASE, fake.PART):
        for seed, accuracy in enumerate(accuracies[row.name]):
            folder = fake.put(tmp_path, row, seed)
            set_accuracy(folder, accuracy)
            edit(folder / 'provenance.json', model={'num_parameters': 7740})
    base, part = (100 * np.array(accuracies[name]) for name in ('base', 'part'))
    difference = np.mean(part) - np.mean(base)
    # Welch's t-test, by the integral of Student's distribution.
    squares = np.var(part, ddof=1) / 2, np.var(base, ddof=1) / 3
    freedom = sum(squares) ** 2 / (squares[0] ** 2 / 1 + squares[1] ** 2 / 2)
    t = difference / np.sqrt(sum(squares))
    p = special.betainc(freedom / 2, 0.5, freedom / (freedom + t**2))
    line = ablation(tmp_path, 'part')
    expected = f'{difference:+.2f} ± {np.sqrt(sum(squares)):.2f}'
    assert (line['difference (points)'], line['p']) == (expected, f'{p:.3f}')
    assert line['parameters'] == line['its parameters'] == '7,740'
    assert line['validation'] == percents(accuracies['part'])
    assert line['its validation'] == percents(accuracies['base'])
    assert (line['seeds'], line['its seeds']) == ('2 of 3', '3')
    # On other devices, times say nothing.
    path = tmp_path / 'frontier' / 'part' / 'seed0' / 'provenance.json'
    devices = {**json.loads(path.read_text())['devices'], 'number': 1}
    assert float(line['time of an epoch, ratio']) > 0.5
    edit(path, devices=devices)
    assert ablation(tmp_path, 'part')['time of an epoch, ratio'] == '-'


def test_an_ablation_of_one_run_has_no_error(rows, tmp_path):
    for row in (fake.BASE, fake.PART):
        set_accuracy(fake.put(tmp_path, row, 0), 0.9 + 0.01 * (row == fake.PART))
    line = ablation(tmp_path, 'part')
    assert (line['difference (points)'], line['p']) == ('+1.00', '-')


def test_an_ablation_that_diverged_is_told(rows, tmp_path):
    fake.put(tmp_path, fake.BASE, 0)
    folder = fake.put(tmp_path, fake.PART, 0)
    (folder / 'divergence.json').write_text('{"message": ""}')
    assert ablation(tmp_path, 'part')['seeds'] == '1 diverged'


def test_an_ablation_of_views_takes_what_was_scored(rows, tmp_path):
    for seed in range(2):
        base = fake.put(tmp_path, fake.BASE, seed)
        set_accuracy(base, 0.90)
        folder = fake.put(tmp_path, fake.MIRRORED, seed)
        scores = folder / 'eval' / 'validation-flip' / 'metrics.json'
        edit(scores, accuracy=0.91 + 0.01 * seed, views='flip')
    # A run of the base that was not scored so says nothing.
    set_accuracy(fake.put(tmp_path, fake.BASE, 2), 0.1)
    line = ablation(tmp_path, 'mirrored')
    assert line['difference (points)'] == '+1.50 ± 0.50'
    # Student's t of 3, with one degree of freedom: Cauchy's distribution.
    assert line['p'] == f'{1 - 2 * np.arctan(3) / np.pi:.3f}'
    assert line['seeds'] == line['its seeds'] == '2 of 3'
    assert line['time of an epoch, ratio'] == '-'


def test_robustness_has_a_column_for_each_corruption(rows, tmp_path):
    for seed in range(2):
        folder = fake.put(tmp_path, fake.SCORED, seed)
        result = {
            'clean_accuracy': 0.9,
            'mean_corruption_accuracy': 0.5 + 0.1 * seed,
            'corruptions': {'gaussian_noise': {'mean': 0.7}, 'blur': {'mean': 0.4}},
        }
        path = folder / 'eval' / 'test' / 'robustness.json'
        path.write_text(json.dumps(result))
    line = line_of(frontier_tables.robustness_table(tmp_path), 'a')
    assert line['gaussian noise'] == '70.00 ± 0.00 %'
    assert line['blur'] == '40.00 ± 0.00 %'
    assert line['mean'] == f'**{percents([0.5, 0.6])}**'


def timed(platform: str, split: str = 'test') -> dict:
    runs = [{'seconds': 2.0, 'accuracy': 0.939}, {'seconds': 3.0, 'accuracy': 0.943}]
    runs *= 10
    return {
        'devices': {'number': 1, 'kind': 'a GPU', 'platform': platform},
        'split': split,
        'target': 0.94,
        'runs': runs,
        'summary': timed_runs.summarize(runs, 0.94),
    }


def test_time_to_accuracy_is_a_gpus(rows, monkeypatch, tmp_path):
    monkeypatch.setattr(runs, 'ROWS', ROWS)
    path = tmp_path / frontier_tables.TIME_TO_ACCURACY
    path.write_text(json.dumps(timed('gpu')))
    gpu, cpu = lines_of(frontier_tables.time_table(tmp_path))
    assert (gpu['on'], gpu['training']) == ('1 x a GPU', '2.50 ± 0.51 s')
    assert gpu['test'] == percents([0.939, 0.943] * 10)
    assert gpu['runs'] == '20, 50% of them at least 94.0%'
    assert cpu['training'] == 'not measured'
    several = {'devices': {**timed('gpu')['devices'], 'number': 2}}
    few = timed('gpu')['runs'][:19]
    below = timed_runs.summarize([{'seconds': 2.0, 'accuracy': 0.939}], 0.94)
    for other in (
        timed('cpu'),
        timed('gpu', 'validation'),
        timed('gpu') | several,
        timed('gpu') | {'runs': few},
        timed('gpu') | {'summary': below},
        timed('gpu') | {'target': 0.93},
    ):
        path.write_text(json.dumps(other))
        gpu, _ = lines_of(frontier_tables.time_table(tmp_path))
        assert gpu['training'] == 'not measured: needs an accelerator'


def test_five_minutes_are_counted(tmp_path):
    (row,) = [row for row in ROWS if row.name == 'five_minutes']
    fake.put(tmp_path, row, 0)
    _, cpu = lines_of(frontier_tables.time_table(tmp_path))
    seconds = figures_of(SEEDS / 'seed0')['train_seconds']
    assert cpu['training'] == f'{seconds:.1f} s, 1 of 1 within 300 s'
    assert cpu['runs'] == '1 of 3'


def test_what_was_found_elsewhere_has_its_source():
    found = frontier_tables.read_elsewhere(RUNS, 'all')
    assert len({entry['name'] for entry in found}) == len(found)
    for entry in found:
        assert 0.5 < entry['accuracy'] < 1
        assert entry['is_evidenced'] in (True, False)
        assert entry['source']
        known = {'name', 'accuracy', 'is_evidenced', 'source'}
        known |= {'std', 'num_parameters', 'epochs', 'seconds'}
        assert entry.keys() <= known


@pytest.mark.parametrize('name', figures.FIGURES)
def test_a_figure_shows_what_the_runs_are(name):
    """Made anew, from the kept runs; what a file shows is in it."""
    points = figures.read(RUNS)[name]
    assert data_of(FOLDER / name) == points
    made = figures.draw(name, points)
    with Image.open(io.BytesIO(made)) as image, Image.open(FOLDER / name) as kept:
        assert image.size == kept.size
        assert json.loads(image.text['Data']) == points
        # Something is drawn.
        assert len(np.unique(np.asarray(image.convert('RGB')))) > 10


def test_figures_have_all_runs_whose_test_set_chose_nothing(rows, tmp_path):
    fake.put(tmp_path, fake.SCORED, 0)
    fake.put(tmp_path, fake.SCORED, 2)
    fake.put(tmp_path, fake.TRIAL, 0)
    for seed in range(3):
        shutil.copytree(SEEDS / f'seed{seed}', tmp_path / 'tinyvgg' / f'seed{seed}')
    unsound = tmp_path / 'reproduction' / 'tinyvgg_sgd' / 'seed0'
    shutil.copytree(SEEDS / 'seed0', unsound)
    edit(unsound / 'config.json', data__validation_split='test')
    sound = tmp_path / 'reproduction' / 'keras_cnns-arch1' / 'seed0'
    shutil.copytree(SEEDS / 'seed4', sound)
    points = figures.read(tmp_path)['training_time.png']
    ours = {p['name']: p for p in points if p['kind'] == 'here, on a CPU'}
    assert ours.keys() == {'tinyvgg', 'a', 'keras_cnns-arch1'}
    found = [figures_of(SEEDS / f'seed{seed}') for seed in (0, 2)]
    tests = [one['test_accuracy'] for one in found]
    np.testing.assert_allclose(ours['a']['accuracy'], np.mean(tests))
    np.testing.assert_allclose(ours['a']['std'], np.std(tests, ddof=1))
    np.testing.assert_allclose(
        ours['a']['x'], min(one['train_seconds'] for one in found)
    )
    assert ours['keras_cnns-arch1']['std'] is None


def test_points_stand_where_their_data_say(monkeypatch):
    axes = []
    draw_kind = figures._draw_kind

    def watched(one, points, kind):
        axes.append(one)
        draw_kind(one, points, kind)

    monkeypatch.setattr(figures, '_draw_kind', watched)
    points = figures.read(RUNS)['parameters.png']
    figures.draw('parameters.png', points)
    drawn = [
        tuple(pair)
        for container in axes[0].containers
        for pair in container.lines[0].get_xydata()
    ]
    expected = [(point['x'], 1 - point['accuracy']) for point in points]
    assert sorted(drawn) == sorted(expected)
    assert {text.get_text() for text in axes[0].texts} == {p['name'] for p in points}
    assert axes[0].get_xscale() == 'log'


def test_another_run_makes_figures_and_pages_stale(tmp_path):
    runs = tmp_path / 'runs'
    shutil.copytree(RUNS / 'tinyvgg', runs / 'tinyvgg')
    before = figures.read(runs)
    path = runs / 'tinyvgg' / 'seed0' / 'eval' / 'test' / 'metrics.json'
    edit(path, accuracy=0.5)
    after = figures.read(runs)
    assert all(after[name] != before[name] for name in before)
    assert data_of(tmp_path / 'absent.png') is None
