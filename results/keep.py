"""Keeps the small files of finished runs: python -m results.keep --to=GROUP WORKDIR...

Copies `config.json`, `provenance.json`, `metrics.jsonl`, `startup.json` and
`eval/SPLIT/metrics.json` of each work folder to `results/runs/GROUP/NAME`, where the
tables are made from them (`python -m results.tables`).
"""

import argparse
import shutil
import sys
from pathlib import Path

RUNS = Path(__file__).parent / 'runs'
FILES = ('config.json', 'provenance.json', 'metrics.jsonl', 'startup.json')


def keep(workdir: Path, folder: Path) -> None:
    """Copies the small files of a run.

    Raises:
      FileNotFoundError: `workdir` holds no run.
    """
    evaluations = [p.relative_to(workdir) for p in workdir.glob('eval/*/metrics.json')]
    for name in (*FILES, *evaluations):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(workdir / name, target)


def main() -> None:
    """Copies as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--to', required=True, help='the group, e.g. tinyvgg')
    parser.add_argument('workdirs', nargs='+', type=Path)
    arguments = parser.parse_args()
    for workdir in arguments.workdirs:
        if not (workdir / 'metrics.jsonl').exists():
            sys.exit(f'error: {workdir} is not the work folder of a run')
        folder = RUNS / arguments.to / workdir.name
        keep(workdir, folder)
        print(folder)


if __name__ == '__main__':
    main()
