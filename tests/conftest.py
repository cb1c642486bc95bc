"""What the tests share: real Fashion-MNIST, eight virtual devices, small configs."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from playwright.sync_api import Browser

from configs import default
from fmnist_jax.data import Dataset, load_dataset
from fmnist_jax.training import parallel
from fmnist_jax.training.train import train_and_evaluate
from tests import idx_files
from tests.browser import Watched, start_browser

ROOT = Path(__file__).parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption('--slow', action='store_true', help='run the slow tests as well')


def pytest_configure(config: pytest.Config) -> None:
    # The CPU, whatever else the machine has; also for the processes that tests start.
    os.environ['JAX_PLATFORMS'] = 'cpu'
    jax.config.update('jax_platforms', 'cpu')
    # Tests interrupt their processes, which must not ignore that because this one was
    # started in the background, or a closed terminal because nohup started it.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    # Before anything uses a device: eight of them, of which tests take what they need.
    parallel.configure_cpu_devices(8, batch_size=8)


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    if not config.getoption('--slow'):
        skip = pytest.mark.skip(reason='slow; run with --slow')
        for item in items:
            if 'slow' in item.keywords:
                item.add_marker(skip)


@pytest.fixture(scope='session')
def data_dir() -> str:
    """Where real Fashion-MNIST is prepared: where users have it, so once a machine."""
    return default.get_config().data.data_dir


@pytest.fixture(scope='session')
def dataset(data_dir: str) -> Dataset:
    """Real Fashion-MNIST."""
    config = default.get_config().data
    config.data_dir = data_dir
    return load_dataset(config)


@pytest.fixture(scope='module')
def real() -> dict[str, np.ndarray]:
    """Fashion-MNIST's four arrays, by the keys of `idx_files.FILE_NAMES`."""
    return idx_files.parse_real()


@pytest.fixture(scope='module')
def test_images(dataset) -> np.ndarray:
    """Fashion-MNIST's, uint8 [10000, 28, 28]."""
    return dataset.arrays['test_images'][..., 0]


@pytest.fixture
def pixels(test_images) -> np.ndarray:
    """An ankle boot: light on black, not the same upside down or in a mirror."""
    return test_images[0]


def make_small_config(data_dir: str) -> ConfigDict:
    """A config that trains on 640 real images in seconds."""
    config = default.get_config()
    config.data.data_dir = data_dir
    config.data.train_split = 'train[:640]'
    config.data.validation_split = 'train[55000:55500]'
    config.data.test_split = 'test[:500]'
    config.batch_size = 64
    config.num_epochs = 2
    config.eval_batch_size = 250
    return config


@pytest.fixture
def small_config(data_dir: str) -> ConfigDict:
    """A config that trains on 640 real images in seconds."""
    return make_small_config(data_dir)


@pytest.fixture(scope='session')
def finished_run(data_dir: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of a small real run; for reading, or evaluating, only."""
    config = make_small_config(data_dir)
    # As many as the tests have already.
    config.num_cpu_devices = 8
    workdir = tmp_path_factory.mktemp('runs') / 'finished'
    train_and_evaluate(config, workdir)
    return workdir


@pytest.fixture(scope='session')
def exported(finished_run, tmp_path_factory) -> tuple[Path, str]:
    """The file of the finished run, in a folder that was not there; what was printed.

    The run is tinyvgg's.
    """
    path = tmp_path_factory.mktemp('exported') / 'new folder' / "it's tiny.stablehlo"
    done = run_script(
        'fmnist_jax.export', f'--workdir={finished_run}', f'--output={path}'
    )
    assert done.returncode == 0, done.stderr
    assert os.listdir(path.parent) == [path.name]
    return path, done.stdout


@pytest.fixture(scope='session')
def browser() -> Iterator[Browser]:
    """Headless Chromium."""
    with start_browser() as started:
        yield started


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Watched]]:
    """Opens a file in a new page; at the end of the test it must have done no harm."""
    opened = []

    def open_(path: Path, **options) -> Watched:
        opened.append(Watched(browser.new_page(**options), path))
        return opened[-1]

    yield open_
    for watched in opened:
        watched.page.close()
        assert not watched.problems


@pytest.fixture
def devices() -> list[jax.Device]:
    """Eight virtual CPU devices."""
    return jax.devices()


def run_script(
    module: str, *arguments: str, timeout: float = 240, **kwargs
) -> subprocess.CompletedProcess:
    """Runs `python -m module` as a user would, from the checkout's root."""
    return subprocess.run(
        [sys.executable, '-m', module, *arguments],
        cwd=kwargs.pop('cwd', ROOT),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        **kwargs,
    )
