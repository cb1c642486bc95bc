"""Keeps the small files of finished runs: python -m results.keep --to=GROUP WORKDIR...

Copies `config.json`, `provenance.json`, `metrics.jsonl`, `startup.json` and
`eval/SPLIT/metrics.json` of each work folder to `results/runs/GROUP/NAME`, and what
else some runs have, or an ensemble, where the tables are made from them
(`python -m results.tables`).
`--figures` copies the figures of `eval/SPLIT/`, or of a learning-rate range test, as
well, for pages that show them.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from etils import epath

from fmnist_jax import workdir as workdir_lib
from fmnist_jax.data.altered import DESCRIPTION as AUGMENTATION
from fmnist_jax.errors import UserError
from fmnist_jax.reporting.lr_range_test.result import RESULT as LR_RANGE_TEST
from fmnist_jax.training.evaluation.members import ENSEMBLE

RUNS = Path(__file__).parent / 'runs'
FILES = ('config.json', 'provenance.json', 'metrics.jsonl', 'startup.json')
# See results/reproduction/batch_statistics.py.
BATCH_STATISTICS = 'batch_statistics.json'
OTHERS = (workdir_lib.DIVERGENCE, LR_RANGE_TEST, BATCH_STATISTICS, AUGMENTATION)


def keep(workdir: Path, folder: Path, *, figures: bool = False) -> None:
    """Copies the small files of a run.

    Args:
      workdir: of the run.
      folder: to copy to; replaced, if it is there.
      figures: whether to copy the figures of evaluations, too.

    Raises:
      FileNotFoundError: `workdir` holds no run that is done.
    """
    patterns = [f'eval/*/{name}.json' for name in ('metrics', 'robustness')]
    patterns += ['eval/*/*.png', 'lr_range_test.png'] if figures else []
    found = [path for pattern in patterns for path in workdir.glob(pattern)]
    names = [*_required(workdir), *(path.relative_to(workdir) for path in found)]
    names += [name for name in OTHERS if (workdir / name).exists()]
    if missing := [name for name in names if not (workdir / name).exists()]:
        raise FileNotFoundError(f'{workdir / missing[0]} is missing')
    # A kill leaves a whole copy or none.
    partial = folder.with_name(f'.{folder.name}.partial')
    shutil.rmtree(partial, ignore_errors=True)
    for name in names:
        target = partial / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(workdir / name, target)
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def _required(workdir: Path) -> Sequence[str]:
    """What a run of its kind must have left."""
    if (workdir / ENSEMBLE).exists():
        return (ENSEMBLE,)
    if (workdir / LR_RANGE_TEST).exists():
        return ()  # Config and provenance are in it.
    if (workdir / workdir_lib.DIVERGENCE).exists():
        return ('config.json', 'provenance.json', 'metrics.jsonl')
    return FILES


def main() -> None:
    """Copies as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--to', required=True, help='the group, e.g. tinyvgg')
    parser.add_argument('--figures', action='store_true', help='copy figures, too')
    parser.add_argument('workdirs', nargs='+', type=Path)
    arguments = parser.parse_args()
    group = RUNS / arguments.to
    try:
        workdir_lib.check(epath.Path(group), 'choose another --to')
    except UserError as error:
        sys.exit(f'error: {error}')
    for workdir in arguments.workdirs:
        kinds = (workdir_lib.METRICS, LR_RANGE_TEST, ENSEMBLE)
        if not any((workdir / name).exists() for name in kinds):
            sys.exit(f'error: {workdir} is not the work folder of a run')
        folder = group / workdir.resolve().name
        try:
            keep(workdir, folder, figures=arguments.figures)
        except FileNotFoundError as error:
            sys.exit(f'error: {error}: the run is not done')
        print(folder)


if __name__ == '__main__':
    main()
