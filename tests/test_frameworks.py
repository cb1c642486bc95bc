"""What other frameworks' runs are kept as, and what is told of them."""

import json
import re
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from results import keep, runner
from results.reproduction import frameworks
from results.reproduction import runs as runs_lib
from results.reproduction.framework_tables import (
    framework_table,
    own_seeds_table,
    read_framework,
    read_own_seeds,
)
from tests.kept_runs import read_markdown
from tests.reproducing import BY_NAME, RUNS

COMMIT = 40 * 'a'
KEPT = sorted(
    path for group in frameworks.GROUPS for path in (RUNS / group).rglob('*seed*.json')
)
FIGURES = ('train_loss', 'train_accuracy', 'test_loss', 'test_accuracy')
WITH_VALIDATION = (*FIGURES, 'validation_loss', 'validation_accuracy')


def keep_epochs(folder: Path, seed: int, epochs: list[dict[str, float]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f'seed{seed}.json').write_text(
        json.dumps({'seed': seed, 'epochs': epochs})
    )


def table(runs: Path, group: str) -> str:
    return framework_table(read_framework(runs, group))


def test_the_table_has_what_each_seed_came_to_at_the_end(tmp_path):
    for row in ('linear', 'keras_tinyvgg'):
        for seed in (0, 1):
            first, last = (dict.fromkeys(FIGURES, x) for x in (0.0, 1.0 + seed))
            keep_epochs(tmp_path / 'in_pytorch' / row, seed, [first, last])
    made = table(tmp_path, 'in_pytorch')
    assert '| run |  | published | PyTorch here | ours | PyTorch - ours | p |' in made
    assert (
        '| linear | test accuracy | 83.72 % | 1.50 ± 0.71 % (2 of 5 so far) |' in made
    )
    # S1's F1 of Shirt is not computed there.
    assert (
        '| keras_tinyvgg | test loss | 0.3715 | 1.5000 ± 0.7071 (2 of 5 so far) |'
        in made
    )
    assert 'F1' not in made


def test_s3_is_read_at_its_lowest_validation_loss(tmp_path):
    epochs = [dict.fromkeys(WITH_VALIDATION, x) for x in (3.0, 2.0, 4.0)]
    keep_epochs(tmp_path / 'in_keras' / 'keras_cnns-arch1', 0, epochs)
    made = table(tmp_path, 'in_keras')
    assert '| run |  | published | Keras here | ours | Keras - ours | p |' in made
    title = 'arch1, no augmentation'
    assert (
        f'| {title} | validation accuracy | 91.50 % | 2.00 % (1 of 5 so far) |' in made
    )
    assert f'| {title} | test loss | 0.2419 | 2.0000 (1 of 5 so far) |' in made


@pytest.fixture
def trained(monkeypatch, tmp_path) -> list[tuple[str, int]]:
    """What a framework is asked to train, that is quick at it; kept in `tmp_path`."""
    asked = []

    def train(row: str, seed: int) -> list[dict[str, float]]:
        asked.append((row, seed))
        return [{'test_loss': float(seed)}]

    module = types.SimpleNamespace(
        ROWS=('a', 'b', 'c'),
        NEEDS={'c': 'no_such_package'},
        OWN_SEEDS={'a': 42},
        train=train,
        versions=lambda: {'x': '1.2'},
    )
    monkeypatch.setitem(sys.modules, 'results.reproduction.in_pytorch', module)
    monkeypatch.setattr(keep, 'RUNS', tmp_path)
    monkeypatch.setattr(runner, 'git_commit', lambda: COMMIT)
    monkeypatch.setattr(frameworks, 'git_commit', lambda: COMMIT)
    return asked


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, 'argv', ['frameworks', *arguments])
    frameworks.main()


def test_seeds_that_are_kept_are_not_trained_again(trained, tmp_path, monkeypatch):
    for number in ('1', '3'):
        call(monkeypatch, 'in_pytorch', 'a', 'b', '--seeds', number)
    assert trained == [(row, seed) for seed in range(3) for row in ('a', 'b')]
    values = json.loads((tmp_path / 'in_pytorch' / 'b' / 'seed2.json').read_text())
    assert (values['seed'], values['x'], values['git_commit']) == (2, '1.2', COMMIT)
    assert values['cpu']
    kept = frameworks.read(tmp_path, 'in_pytorch', 'b')
    assert {seed: values['epochs'] for seed, values in kept.items()} == {
        seed: [{'test_loss': seed}] for seed in (0, 1, 2)
    }


def test_a_projects_own_seed_is_kept_beside_the_others(trained, tmp_path, monkeypatch):
    call(monkeypatch, 'in_pytorch', 'a', '--seeds=1')
    for _ in range(2):
        call(monkeypatch, 'in_pytorch', 'a', '--own_seed')
    assert trained == [('a', 0), ('a', 42)]
    assert frameworks.read(tmp_path, 'in_pytorch', 'a').keys() == {0}
    kept = frameworks.read_own_seed(tmp_path, 'in_pytorch', 'a')
    assert (kept['seed'], kept['epochs']) == (42, [{'test_loss': 42}])
    assert frameworks.read_own_seed(tmp_path, 'in_pytorch', 'b') is None


def test_the_table_of_own_seeds_has_the_last_epoch_below_what_was_published(tmp_path):
    folder = tmp_path / 'in_pytorch' / 'linear'
    folder.mkdir(parents=True)
    epochs = [dict.fromkeys(FIGURES, x) for x in (1.0, 2.0)]
    (folder / 'own_seed.json').write_text(json.dumps({'seed': 42, 'epochs': epochs}))
    assert own_seeds_table(read_own_seeds(tmp_path, 'in_pytorch')) == (
        '| run |  | train loss | train accuracy | test loss | test accuracy |\n'
        '| --- | --- | --- | --- | --- | --- |\n'
        '| linear | published | 0.4629 | 84.09 % | 0.4698 | 83.72 % |\n'
        '|  | PyTorch here, seed 42 | 2.0000 | 2.00 % | 2.0000 | 2.00 % |\n'
    )


@pytest.mark.parametrize(
    ('arguments', 'part'),
    [
        (['in_pytorch', 'd'], "unknown row 'd'"),
        (['in_pytorch', 'a', 'c'], 'a row needs no_such_package'),
        (['in_pytorch', 'a', '--seeds=0'], '--seeds must be at least 1, not 0'),
        (['in_pytorch', 'a', '--seeds=x'], "invalid int value: 'x'"),
        (['in_pytorch', 'b', '--own_seed'], 'the project of b set none'),
        (['in_pytorch', 'a', '--seeds=2', '--own_seed'], 'not allowed with'),
        (['in_pytorch'], 'required: ROW'),
        (['in_torch', 'a'], "unknown framework 'in_torch'; did you mean 'in_pytorch'"),
    ],
)
def test_mistakes_are_told(arguments, part, trained, monkeypatch, capsys):
    with pytest.raises(SystemExit) as caught:
        call(monkeypatch, *arguments)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('error: ')
    assert part in line
    assert not trained


def test_a_framework_that_is_not_installed_is_told(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, 'results.reproduction.in_keras', raising=False)
    monkeypatch.setitem(sys.modules, 'keras', None)
    with pytest.raises(SystemExit) as caught:
        call(monkeypatch, 'in_keras', 'keras_tinyvgg')
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith('results/reproduction/in_keras.py says what it needs')


def test_nothing_is_trained_from_a_checkout_with_changes(trained, monkeypatch):
    commits = iter((COMMIT, f'{COMMIT}-dirty'))
    monkeypatch.setattr(runner, 'git_commit', lambda: next(commits))
    with pytest.raises(SystemExit, match='not committed'):
        call(monkeypatch, 'in_pytorch', 'a', 'b', '--seeds=1')
    assert trained == [('a', 0)]


@pytest.mark.parametrize(
    ('epoch', 'expected'), [('last', 2), ('highest_accuracy', 0), ('lowest_loss', 1)]
)
@pytest.mark.parametrize('split', ['validation', 'test'])
def test_an_epoch_is_chosen_by_validation_if_there_is_one(split, epoch, expected):
    judged = [(0.5, 90.0), (0.4, 80.0), (0.6, 70.0)]
    epochs = [
        {**dict.fromkeys(FIGURES, 50.0 - number), 'number': number}
        | {f'{split}_loss': loss, f'{split}_accuracy': accuracy}
        for number, (loss, accuracy) in enumerate(judged)
    ]
    assert frameworks.select(epochs, epoch)['number'] == expected
    with pytest.raises(ValueError, match="unknown epoch 'best'"):
        frameworks.select(epochs, 'best')


@pytest.mark.parametrize('num_planned', [3, 5])
def test_theirs_and_ours_are_compared(num_planned, tmp_path, monkeypatch):
    """By SciPy and NumPy, on real figures of ours."""
    source = RUNS / 'reproduction' / 'linear'
    shutil.copytree(source, tmp_path / 'reproduction' / 'linear')
    files = [source / f'seed{seed}' / 'metrics.jsonl' for seed in range(5)]
    lines = [json.loads(path.read_text().splitlines()[-1]) for path in files]
    assert all(line['split'] == 'validation' for line in lines)
    ours = np.array([line['loss'] for line in lines])
    theirs = ours[:3] + np.array([0.01, 0.02, 0.04])
    monkeypatch.setattr(frameworks, 'NUM_SEEDS', num_planned)
    for seed, loss in enumerate(theirs):
        figures = {'test_loss': loss, 'test_accuracy': 80.0 + seed}
        keep_epochs(tmp_path / 'in_pytorch' / 'linear', seed, [figures])
    _, row, _ = read_markdown(table(tmp_path, 'in_pytorch'))
    assert row[1] == 'test loss'
    error = np.sqrt(theirs.var(ddof=1) / 3 + ours.var(ddof=1) / 5)
    assert row[5] == f'{theirs.mean() - ours.mean():+.4f} ± {error:.4f}'
    freedom = error**4 / sum(
        (x.var(ddof=1) / len(x)) ** 2 / (len(x) - 1) for x in (theirs, ours)
    )
    t = abs(theirs.mean() - ours.mean()) / error
    assert row[6] == f'{2 * stats.t.sf(t, freedom):.3f}'
    both = np.concatenate([theirs, ours])
    limit = 2 * both.std(ddof=1) * np.sqrt(1 + 1 / 8)
    distance = 0.4698 - both.mean()
    text = f'{distance:+.4f}'
    is_beyond = abs(distance) > limit
    # It is judged when all runs are there.
    assert row[7] == (f'**{text}**' if is_beyond and num_planned == 3 else text)
    assert row[8] == f'{limit:.4f}'


@pytest.mark.parametrize('path', KEPT, ids=lambda path: str(path.relative_to(RUNS)))
def test_what_is_kept_is_whole(path):
    values = json.loads(path.read_text())
    seeds = {'own_seed': 42, f'seed{values["seed"]}': values['seed']}
    assert seeds[path.stem] == values['seed']
    assert re.fullmatch('[0-9a-f]{40}', values['git_commit'])
    recipe = BY_NAME[path.parent.name]
    kept = runs_lib.read_recipe(RUNS, recipe)[0]
    assert len(values['epochs']) == kept.run.config['num_epochs']
    for epoch in values['epochs']:
        assert epoch.keys() >= set(FIGURES)
        assert np.isfinite(list(epoch.values())).all()
