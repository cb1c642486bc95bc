"""Data that are deleted, replaced or damaged while a job trains on them."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from etils import epath

from fmnist_jax.errors import UserError
from fmnist_jax.training import trained
from fmnist_jax.training.evaluation.evaluate import evaluate
from tests import idx_files
from tests.conftest import ROOT, run_script
from tests.mistakes import assert_fails

EPOCHS = 25


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds `idx`, the first 600 real examples of each split, and `runs`."""
    folder = tmp_path_factory.mktemp('changed')
    idx_files.write_first(folder / 'idx', 600)
    return folder


def arguments(folder: Path, run: str) -> list[str]:
    """Of a small run whose data are its own."""
    return [
        '--config=configs/default.py',
        '--config.model.name=linear',
        '--config.data.name=mine',
        f'--config.data.data_dir={folder / run / "data"}',
        f'--config.data.idx_dir={folder / run / "idx"}',
        '--config.data.train_split=train[:480]',
        '--config.data.validation_split=train[480:]',
        '--config.batch_size=16',
        f'--config.num_epochs={EPOCHS}',
        '--config.num_cpu_devices=8',
        f'--workdir={folder / run / "run"}',
    ]


def start(folder: Path, run: str) -> subprocess.Popen:
    shutil.copytree(folder / 'idx', folder / run / 'idx')
    return subprocess.Popen(
        [sys.executable, '-m', 'fmnist_jax.main', *arguments(folder, run)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def lines(folder: Path, run: str) -> list[dict]:
    """Of the metrics file, without the times."""
    path = folder / run / 'run' / 'metrics.jsonl'
    text = path.read_text() if path.exists() else ''
    times = ('seconds', 'images_per_second')
    records = [json.loads(line) for line in text.splitlines()]
    return [{k: v for k, v in x.items() if k not in times} for x in records]


def write_other_labels(idx_dir: Path) -> None:
    """In place, of the same size: what a memory map would show at once."""
    for name in ('train_labels', 'test_labels'):
        path = idx_dir / idx_files.FILE_NAMES[name]
        content = bytearray(path.read_bytes())
        for i in range(8, len(content)):
            content[i] = (content[i] + 1) % 10
        with path.open('r+b') as file:
            file.write(content)


def damage_in_place(data_dir: Path) -> None:
    """Every file of what was prepared and decoded."""
    for path in [path for path in data_dir.rglob('*') if path.is_file()]:
        with path.open('r+b') as file:
            file.write(bytes(path.stat().st_size))


@pytest.mark.slow
def test_data_changed_under_a_running_job_do_not_change_it(folder):
    jobs = {run: start(folder, run) for run in ('left alone', 'disturbed')}
    deadline = time.monotonic() + 100
    while not lines(folder, 'disturbed') and time.monotonic() < deadline:
        time.sleep(0.002)
    data_dir = folder / 'disturbed' / 'data'
    damage_in_place(data_dir)
    write_other_labels(folder / 'disturbed' / 'idx')
    done = len(lines(folder, 'disturbed'))
    shutil.rmtree(data_dir)
    for run, job in jobs.items():
        output, _ = job.communicate(timeout=100)
        assert job.returncode == 0, output
        assert len(lines(folder, run)) == 2 * EPOCHS
    assert 0 < done < EPOCHS
    assert lines(folder, 'left alone') == lines(folder, 'disturbed')
    params = [
        jax.tree.leaves(trained.load(epath.Path(folder / run / 'run'), 'last').params)
        for run in jobs
    ]
    for one, other in zip(*params, strict=True):
        np.testing.assert_array_equal(one, other)

    # Started again, for another epoch: these are other data.
    more = f'--config.num_epochs={EPOCHS + 1}'
    refused = run_script('fmnist_jax.main', *arguments(folder, 'disturbed'), more)
    assert_fails(refused, 'holds a run on other data', 'train_labels, test_labels')
    with pytest.raises(UserError, match='holds a run on other data'):
        evaluate(folder / 'disturbed' / 'run')
    assert len(lines(folder, 'disturbed')) == 2 * EPOCHS
