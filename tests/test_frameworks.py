"""What other frameworks' runs are kept as, and what is told of them."""

import json
import sys
from pathlib import Path

import pytest

from results import frameworks, keep, reproduction

FIGURES = ('train_loss', 'train_accuracy', 'test_loss', 'test_accuracy')
WITH_VALIDATION = (*FIGURES, 'validation_loss', 'validation_accuracy')


def keep_epochs(folder: Path, seed: int, epochs: list[dict[str, float]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f'seed{seed}.json').write_text(json.dumps({'epochs': epochs}))


def table(runs: Path, group: str) -> str:
    framework = reproduction.read_framework(runs, group)
    return reproduction.framework_table(framework)


def test_the_table_has_what_each_seed_came_to_at_the_end(tmp_path):
    for row in ('linear', 'keras_tinyvgg'):
        for seed in (0, 1):
            first, last = (dict.fromkeys(FIGURES, x) for x in (0.0, 1.0 + seed))
            keep_epochs(tmp_path / 'in_pytorch' / row, seed, [first, last])
    made = table(tmp_path, 'in_pytorch')
    assert '| run |  | published | PyTorch here | ours |' in made
    assert '| linear | test accuracy | 83.72 % | 1.50 ± 0.71 % (2) |' in made
    # S1's F1 of Shirt is not computed there.
    assert '| keras_tinyvgg | test loss | 0.3715 | 1.5000 ± 0.7071 (2) |' in made
    assert 'F1' not in made


def test_s3_is_read_at_its_lowest_validation_loss(tmp_path):
    epochs = [dict.fromkeys(WITH_VALIDATION, x) for x in (3.0, 2.0, 4.0)]
    keep_epochs(tmp_path / 'in_keras' / 'keras_cnns-arch1', 0, epochs)
    made = table(tmp_path, 'in_keras')
    assert '| run |  | published | Keras here | ours |' in made
    title = 'arch1, no augmentation'
    assert f'| {title} | validation accuracy | 91.50 % | 2.00 % (1) |' in made
    assert f'| {title} | test loss | 0.2419 | 2.0000 (1) |' in made


def test_seeds_that_are_kept_are_not_trained_again(tmp_path, monkeypatch, capsys):
    trained = []

    def train(row: str, seed: int) -> list[dict[str, float]]:
        trained.append((row, seed))
        return [{'test_loss': float(seed)}]

    monkeypatch.setattr(keep, 'RUNS', tmp_path)
    for number in ('1', '3'):
        monkeypatch.setattr(sys, 'argv', ['in_x', 'a', 'b', '--seeds', number])
        frameworks.main('', 'in_x', ('a', 'b', 'c'), train, {'x': '1.2'})
    assert trained == [(row, seed) for seed in range(3) for row in ('a', 'b')]
    values = json.loads((tmp_path / 'in_x' / 'b' / 'seed2.json').read_text())
    assert (values['seed'], values['x']) == (2, '1.2')
    assert values['cpu']
    kept = frameworks.read(tmp_path, 'in_x', 'b')
    assert kept == [[{'test_loss': seed}] for seed in (0, 1, 2)]
    monkeypatch.setattr(sys, 'argv', ['in_x', 'd'])
    with pytest.raises(SystemExit):
        frameworks.main('', 'in_x', ('a',), train, {})
    assert 'invalid choice' in capsys.readouterr().err
