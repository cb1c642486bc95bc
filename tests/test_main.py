"""`main` as a user calls it: default and relative work folders, and divergence."""

import json
import os
import re
import shlex
import subprocess

import pytest

from tests.conftest import ROOT, run_script

_UNSTABLE_MODEL = '''
import jax.numpy as jnp
from flax import linen as nn


class Unstable(nn.Module):
    """A linear model whose logits are not numbers any more after 14 updates."""

    num_classes: int

    @nn.compact
    def __call__(self, images, *, train):
        updates = self.variable('batch_stats', 'updates', lambda: jnp.zeros(()))
        logits = nn.Dense(self.num_classes)(images.reshape(len(images), -1))
        logits = jnp.where(updates.value >= 14, jnp.nan, logits)
        if train:
            updates.value += 1
        return logits
'''


@pytest.fixture
def flags(data_dir) -> list[str]:
    """Ten updates an epoch on real images."""
    return [
        f'--config={ROOT}/configs/default.py',
        f'--config.data.data_dir={data_dir}',
        '--config.data.train_split=train[:640]',
        '--config.data.validation_split=train[55000:55500]',
        '--config.batch_size=64',
        '--config.num_epochs=2',
        '--config.model.name=linear',
    ]


def test_the_default_work_folder_and_the_commands_it_leads_to(flags, tmp_path):
    """The folder is relative, of a name of its own; the printed command works there."""
    done = run_script('fmnist_jax.main', *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (workdir,) = (tmp_path / 'runs').iterdir()
    assert re.fullmatch('default-[0-9a-f]{6}', workdir.name)
    for text in ('7,850', ' x cpu', 'fashion_mnist from', f'runs/{workdir.name}'):
        assert text in done.stdout
    startup = json.loads((workdir / 'startup.json').read_text())
    assert startup.keys() == {'imports', 'data', 'compilation', 'first_step'}
    assert all(0 < seconds < 60 for seconds in startup.values())

    command = shlex.split(done.stdout.split('evaluate: ')[-1])
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert 'Ankle boot' in done.stdout
    assert (workdir / 'eval' / 'test' / 'metrics.json').exists()


@pytest.mark.slow
def test_a_run_can_be_extended_when_its_schedule_does_not_count_on_its_end(
    flags, tmp_path
):
    done = run_script('fmnist_jax.main', *flags, '--workdir=run', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    longer = [*flags, '--config.num_epochs=3', '--workdir=run']
    done = run_script('fmnist_jax.main', *longer, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert 'resumed from' in done.stdout
    lines = (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()
    epochs = [json.loads(line)['epoch'] for line in lines]
    assert epochs == [1, 1, 2, 2, 3, 3]


def test_a_wrong_split_is_told_before_anything_is_written(flags, tmp_path):
    for split in ('validation', 'test'):
        override = f'--config.data.{split}_split=valid'
        done = run_script(
            'fmnist_jax.main', *flags, override, '--workdir=run', cwd=tmp_path
        )
        assert done.returncode == 2
        assert "split 'valid'" in done.stderr
        assert not (tmp_path / 'run').exists()


def test_divergence_stops_training_and_keeps_the_last_good_checkpoint(flags, tmp_path):
    (tmp_path / 'unstable.py').write_text(_UNSTABLE_MODEL)
    done = run_script(
        'fmnist_jax.main',
        *flags,
        '--config.model.name=unstable:Unstable',
        '--workdir=run',
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': f'{tmp_path}{os.pathsep}{ROOT}'},
    )
    assert done.returncode == 3
    assert 'not finite at step 15 (epoch 2)' in done.stderr
    assert 'last good checkpoint is step 10' in done.stderr
    assert 'Traceback' not in done.stderr
    folder = tmp_path / 'run'
    assert (folder / 'checkpoints' / '10' / 'manifest.sha256').exists()
    assert os.listdir(folder / 'checkpoints') == ['10']
    lines = (folder / 'metrics.jsonl').read_text().splitlines()
    assert [json.loads(line)['step'] for line in lines] == [10, 10]


@pytest.mark.slow
@pytest.mark.parametrize('kernels', ['0', '1'])
def test_more_devices_than_cores_and_many_collectives_go_on(flags, kernels, tmp_path):
    """XLA ends a process whose devices wait for each other for 40 s."""
    more = (
        '--config.model.name=bn_cnn',
        '--config.optimizer.name=adam',
        '--config.num_cpu_devices=8',
        '--config.data.train_split=train[:12800]',
        '--config.num_epochs=5',
    )
    environment = {**os.environ, 'FMNIST_JAX_KERNELS': kernels, 'NPROC': ''}
    done = run_script(
        'fmnist_jax.main', *flags, *more, cwd=tmp_path, env=environment, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert '8 x cpu' in done.stdout
