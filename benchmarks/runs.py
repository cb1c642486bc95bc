"""What else a user of a CPU waits for: python -m benchmarks.runs --output=runs.json

Runs `fmnist_jax.main` with configs/tinyvgg.py in processes of its own, on two cores:

- start: seconds from the start of the process to the end of its first call (of 16
  steps), with all caches empty and filled by a run before. Data are prepared.
- memory: the largest resident size of a run with all training images, and of its
  evaluation.
- epochs: seconds of an epoch of 10,000 to 60,000 images, the shortest of three.
- evaluation: images a second of the predictions that metrics are made of.

Takes about three minutes, on a machine with nothing else to do.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks import machine
from fmnist_jax import cli
from fmnist_jax import workdir as workdir_lib
from fmnist_jax.errors import UserError

_ROUNDS = flags.DEFINE_integer('rounds', 5, 'Starts of each kind.', lower_bound=1)
_OUTPUT = flags.DEFINE_string(
    'output', None, 'A JSON file to write everything measured to.'
)
_SIZES = flags.DEFINE_list(
    'sizes', ['10000', '20000', '40000', '60000'], 'Images of the epochs compared.'
)

CONFIG = 'configs/tinyvgg.py'
# Predictions over all training images, four times, the first of which compiles.
_PREDICT = """
import time
from configs import tinyvgg
from fmnist_jax.training.build import build_experiment
from fmnist_jax.training.configure import configure_jax
config = tinyvgg.get_config()
configure_jax(config)
experiment = build_experiment(config, log=lambda message: None)
state = experiment.create_state()
examples = experiment.place(*experiment.dataset.split('train'))
predict = experiment.make_predict()
times = []
for _ in range(4):
    started = time.perf_counter()
    predict(state.params, state.batch_stats, examples)
    times.append(time.perf_counter() - started)
print(len(examples.labels) / min(times[1:]))
"""


def main() -> None:
    """Measures, prints, and writes."""
    machine.use_cores()
    os.environ |= machine.environment()
    os.environ.pop('JAX_COMPILATION_CACHE_DIR', None)
    with tempfile.TemporaryDirectory() as folder:
        report = _measure(Path(folder))
    print(json.dumps(report, indent=2))
    if _OUTPUT.value:
        Path(_OUTPUT.value).write_text(json.dumps(report, indent=2) + '\n')


def _measure(folder: Path) -> dict[str, Any]:
    log = folder / 'log'
    starts: dict[str, list] = {'empty': [], 'warm': []}
    # Prepares the data, and fills the caches that are the user's.
    _run(_train(folder / 'first', train='train[:6400]'), log)
    for i in range(_ROUNDS.value):
        cache = folder / f'cache{i}'
        for kind, measured in starts.items():
            measured.append(_start(folder / f'{kind}{i}', cache, log))
            print(f'start, {kind} caches: {measured[-1]["total"]:.2f} s', flush=True)
    memory = {'main': _run(_train(folder / 'memory'), log)}
    evaluate = ['-m', 'fmnist_jax.evaluate', f'--workdir={folder / "memory"}']
    memory['evaluate'] = _run(evaluate, log)
    epochs = {size: _epoch(int(size), folder, log) for size in _SIZES.value}
    done = subprocess.run(
        [sys.executable, '-c', _PREDICT], check=True, stdout=subprocess.PIPE, text=True
    )
    return {
        'processor': _provenance(folder / 'memory')['host'],
        'versions': _provenance(folder / 'memory')['versions'],
        'git_commit': _provenance(folder / 'memory')['git_commit'],
        'start': starts,
        'start_median': {
            kind: statistics.median(s['total'] for s in values)
            for kind, values in starts.items()
        },
        'peak_bytes': memory,
        'epoch_seconds': epochs,
        'prediction_images_per_second': float(done.stdout.split()[-1]),
    }


def _provenance(workdir: Path) -> dict[str, Any]:
    return json.loads((workdir / workdir_lib.PROVENANCE).read_text())


def _train(workdir: Path, train: str = 'train[:55000]', epochs: int = 1) -> list[str]:
    """The command of a short run."""
    return [
        *('-m', 'fmnist_jax.main', f'--config={CONFIG}', f'--workdir={workdir}'),
        f'--config.data.train_split={train}',
        f'--config.num_epochs={epochs}',
    ]


def _start(workdir: Path, cache: Path, log: Path) -> dict[str, float]:
    """Seconds to the end of the first call; what `main` says of them, and in all."""
    data = Path.home() / '.cache/fmnist_jax/data'
    command = [*_train(workdir, train='train[:6400]'), f'--config.data.data_dir={data}']
    environment = {**os.environ, 'XDG_CACHE_HOME': str(cache)}
    started = time.perf_counter()
    path = workdir / workdir_lib.STARTUP
    with log.open('w') as output:
        process = subprocess.Popen(
            [sys.executable, *command], stdout=output, stderr=output, env=environment
        )
        while not path.exists():
            if process.poll() is not None:
                raise UserError(f'main ended before its first step: {log.read_text()}')
            time.sleep(0.005)
        total = time.perf_counter() - started
        if process.wait():
            raise UserError(f'main failed: {log.read_text()}')
    return {**json.loads(path.read_text()), 'total': total}


def _run(command: Sequence[str], log: Path) -> int:
    """Runs a script to its end; its largest resident size in bytes."""
    with log.open('w') as output:
        process = subprocess.Popen(
            [sys.executable, *command], stdout=output, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise UserError(f'{" ".join(command)} failed: {log.read_text()}')
    # Linux counts in KiB, macOS in bytes.
    return usage.ru_maxrss * (1 if sys.platform == 'darwin' else 1024)


def _epoch(size: int, folder: Path, log: Path) -> float:
    workdir = folder / f'epochs{size}'
    command = _train(workdir, train=f'train[:{size}]', epochs=3)
    _run([*command, '--config.data.validation_split=test[:1000]'], log)
    lines = (workdir / workdir_lib.METRICS).read_text().splitlines()
    metrics = [json.loads(line) for line in lines]
    seconds = min(line['seconds'] for line in metrics if line['split'] == 'train')
    print(f'epoch of {size:,} images: {seconds:.2f} s', flush=True)
    return seconds


if __name__ == '__main__':
    cli.run(main)
