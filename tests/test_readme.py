"""What the README shows works as it stands there."""

import importlib
import json
import re

import jax
import pytest

from fmnist_jax.models import MODELS
from fmnist_jax.training.evaluation.evaluate import evaluate
from fmnist_jax.training.train import train_and_evaluate
from tests.conftest import ROOT
from tests.reference_models import PARAMETERS

README = (ROOT / 'README.md').read_text()


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """A folder outside of the checkout, as `python -m` would see it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    section = README[README.index('## A model of your own') :]
    model, config = re.findall(r'```python\n(.*?)```', section, re.S)[:2]
    for name, code in (('my_model', model), ('my_config', config)):
        lines = [line.removeprefix('   ') for line in code.splitlines()]
        (tmp_path / f'{name}.py').write_text('\n'.join(lines) + '\n')
    return tmp_path


def test_a_model_of_ones_own_trains_is_evaluated_and_goes_on(own_folder, data_dir):
    config = importlib.import_module('my_config').get_config()
    config.data.data_dir = data_dir
    config.data.train_split = 'train[:3200]'
    config.data.validation_split = 'train[55000:55500]'
    config.data.test_split = 'test[:500]'
    config.num_cpu_devices = jax.device_count()
    train_and_evaluate(config, 'runs/my_config')
    first = evaluate('runs/my_config')
    # 14 x 14 x 64 after a stride of 2, and BatchNorm's two.
    assert first['num_parameters'] == 9 * 64 + 64 + 2 * 64 + 14 * 14 * 64 * 10 + 10
    assert first['accuracy'] > 0.6
    config.num_epochs = 5
    train_and_evaluate(config, 'runs/my_config')
    lines = (own_folder / 'runs/my_config/metrics.jsonl').read_text().splitlines()
    assert [json.loads(x)['epoch'] for x in lines if 'validation' in x] == [
        *range(1, 6)
    ]


def test_the_table_of_models_is_complete_and_right():
    rows = re.findall(r'^\| `(\w+)` \| ([\d,]+) \|', README, re.M)
    counts = {name: int(count.replace(',', '')) for name, count in rows}
    assert counts == PARAMETERS
    assert counts.keys() == MODELS.keys()


def test_every_file_and_folder_it_names_is_there():
    for name in re.findall(r'`((?:fmnist_jax|configs|results)/[\w/.]+)`', README):
        assert (ROOT / name).exists(), name
    for name in re.findall(r'\]\((?!http)([\w/.]+)\)', README):
        assert (ROOT / name).exists(), name
