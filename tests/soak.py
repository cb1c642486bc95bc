"""Kills at random moments: python -m tests.soak --kills=60 --output=soak.json

Real trainings, preparations of the data and evaluations are killed (SIGKILL) and
started again until they end; what they leave is compared, bit for bit, with what
undisturbed ones leave. Half of the kills are of trainings, half of those while a
checkpoint is written; the others are of preparations and evaluations, a quarter each.
Half of the evaluations are killed between the first and the last of their files, all of
which must be whole or absent at each kill.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from configs import default
from tests.jobs import Job
from tests.killing import Killer, make_flags
from tests.killing_evaluations import EvaluationKiller
from tests.whole_runs import assert_same_run

# So many of a training's kills, and then it may end.
_KILLS_A_RUN = 10


class Soak:
    """Counts kills, and what was found after them.

    Attributes:
      kills: by phase.
      compared: what was found to be identical.
      num_whole: how many files of killed evaluations were read to their end.
    """

    def __init__(self, folder: Path, seed: int):
        self.kills: Counter[str] = Counter()
        self.compared: Counter[str] = Counter()
        self.num_whole = 0
        self._folder = folder
        self._random = random.Random(seed)
        self._flags = make_flags(default.get_config().data.data_dir)
        self._whole = folder / 'undisturbed'
        self._finish('fmnist_jax.main', *self._flags, f'--workdir={self._whole}')
        self._evaluation = self._evaluate(self._whole)

    def kill_trainings(self, count: int) -> None:
        """Kills trainings, and compares how they end."""
        for first in range(0, count, _KILLS_A_RUN):
            workdir = self._folder / f'run-{first}'
            killer = Killer(self._flags, workdir, seed=self._random.randrange(2**32))
            for number in range(min(_KILLS_A_RUN, count - first)):
                if number < 1:
                    killer.before_training()
                elif number % 2:
                    killer.while_writing()
                else:
                    killer.after_checkpoint()
            for phase in killer.phases:
                self.kills[f'training, {phase}'] += 1
            self._finish('fmnist_jax.main', *self._flags, f'--workdir={workdir}')
            assert_same_run(workdir, self._whole)
            self.compared['trainings that end bit for bit as undisturbed'] += 1
            shutil.rmtree(workdir)

    def kill_preparations(self, count: int) -> None:
        """Kills `main` while it prepares the data in a folder of its own."""
        data_dir, workdir = self._folder / 'data', self._folder / 'prepared'
        flags = [*self._flags, f'--config.data.data_dir={data_dir}']
        arguments = ('fmnist_jax.main', *flags, f'--workdir={workdir}')
        while self.kills['preparing'] < count:
            job = Job(self._folder / 'log', *arguments)
            started = data_dir / 'fashion_mnist' / '.lock'
            job.wait_until(started.exists)
            # Preparing takes about ten seconds.
            time.sleep(self._random.uniform(0, 8))
            if list(data_dir.glob('*/decoded-*.npz')):
                job.code()
                shutil.rmtree(data_dir)
                shutil.rmtree(workdir, ignore_errors=True)
                continue
            job.kill()
            self.kills['preparing'] += 1
        self._finish(*arguments)
        assert_same_run(workdir, self._whole)
        self.compared['trainings on data so prepared, likewise'] += 1

    def kill_evaluations(self, count: int) -> None:
        """Kills `evaluate`; after each kill, every file is whole or not there."""
        seed = self._random.randrange(2**32)
        killer = EvaluationKiller(self._whole, self._folder / 'evaluations', seed)
        while len(killer.phases) < count:
            if len(killer.phases) % 2:
                killer.at_random()
            else:
                killer.while_writing()
        for phase in killer.phases:
            self.kills[f'evaluating, {phase}'] += 1
        self.num_whole = killer.num_whole
        assert self._evaluate(self._whole) == self._evaluation
        self.compared['evaluations, likewise'] += 1

    def _evaluate(self, workdir: Path) -> dict[str, bytes]:
        self._finish('fmnist_jax.evaluate', f'--workdir={workdir}')
        names = ('metrics.json', 'predictions.npz')
        folder = workdir / 'eval' / 'test'
        return {name: (folder / name).read_bytes() for name in names}

    def _finish(self, *arguments: str) -> None:
        job = Job(self._folder / 'log', *arguments)
        assert job.code() == 0, job.printed[-2000:]


def main() -> None:
    """Kills, compares, tells."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--kills', type=int, default=60)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--output', type=Path)
    options = parser.parse_args()
    if options.kills < 4:
        sys.exit('error: --kills must be at least 4')
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(Path(folder), options.seed)
        quarter = options.kills // 4
        for kill, count in (
            (soak.kill_trainings, options.kills - 2 * quarter),
            (soak.kill_preparations, quarter),
            (soak.kill_evaluations, quarter),
        ):
            kill(count)
            print(dict(soak.kills), dict(soak.compared), flush=True)
    report = {
        'kills': soak.kills,
        'compared': soak.compared,
        'whole_files': soak.num_whole,
        'seed': options.seed,
        'seconds': time.perf_counter() - started,
    }
    if options.output:
        options.output.write_text(json.dumps(report, indent=2) + '\n')


if __name__ == '__main__':
    main()
