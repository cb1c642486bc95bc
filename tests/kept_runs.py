"""Copies of real kept runs to change, what they hold, and their comparisons."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np

from fmnist_jax.reporting.comparison.compare import compare
from fmnist_jax.reporting.comparison.groups import Group
from tests.conftest import ROOT

SEEDS = ROOT / 'results' / 'runs' / 'tinyvgg'
KINDS = ('txt', 'csv', 'md', 'html')


def edit(path: Path, **fields) -> None:
    """Sets fields, `a__b` for `a.b`, of a JSON file."""
    values = json.loads(path.read_text())
    for field, value in fields.items():
        *parents, last = field.split('__')
        inner = values
        for parent in parents:
            inner = inner[parent]
        inner[last] = value
    path.write_text(json.dumps(values))


def make_run(folder: Path, seed: int = 0, **fields) -> Path:
    """A copy of a real run, with other fields in its config."""
    shutil.copytree(SEEDS / f'seed{seed}', folder)
    edit(folder / 'config.json', **fields)
    return folder


def run_compare(*workdirs: str | Path, output: Path) -> tuple[list[Group], str]:
    """The rows, and what was printed."""
    lines: list[str] = []
    return compare(workdirs, output, log=lines.append), '\n'.join(lines)


def read_csv(folder: Path) -> list[dict[str, str]]:
    with (folder / 'comparison.csv').open(newline='') as file:
        return list(csv.DictReader(file))


def cut(folder: Path, num_lines: int) -> None:
    path = folder / 'metrics.jsonl'
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(''.join(lines[:num_lines]))


def read_markdown(content: str) -> list[list[str]]:
    """The cells of a Markdown table, without the line below the header."""
    lines = content.split('\n\n', maxsplit=1)[0].splitlines()
    rows = [re.split(r'(?<!\\)\|', line)[1:-1] for line in lines]
    assert set(map(len, rows)) == {len(rows[0])}
    return [[cell.strip() for cell in row] for row in (rows[0], *rows[2:])]


def files_of(folder: Path) -> tuple[dict[int, dict], dict[int, dict], dict]:
    """Train and validation lines by epoch, and the test metrics, of a work folder."""
    lines = [json.loads(x) for x in (folder / 'metrics.jsonl').read_text().splitlines()]
    train, validation = (
        {line['epoch']: line for line in lines if line['split'] == split}
        for split in ('train', 'validation')
    )
    path = folder / 'eval' / 'test' / 'metrics.json'
    return train, validation, json.loads(path.read_text())


def figures_of(folder: Path) -> dict[str, float]:
    """What a comparison should say of a run, from its files alone."""
    train, validation, test = files_of(folder)
    accuracies = np.array([validation[e]['accuracy'] for e in sorted(validation)])
    best = int(np.argmax(accuracies)) + 1
    return {
        'best_epoch': best,
        'train_seconds': sum(line['seconds'] for line in train.values()),
        'train_loss': train[best]['loss'],
        'train_accuracy': train[best]['accuracy'],
        'validation_loss': validation[best]['loss'],
        'validation_accuracy': validation[best]['accuracy'],
        'test_loss': test['loss'],
        'test_accuracy': test['accuracy'],
    }
