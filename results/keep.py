"""Keeps the small files of finished runs: python -m results.keep --to=GROUP WORKDIR...

Copies `config.json`, `provenance.json`, `metrics.jsonl`, `startup.json` and
`eval/SPLIT/metrics.json` of each work folder to `results/runs/GROUP/NAME`, where the
tables are made from them (`python -m results.tables`). `--figures` copies the figures
of `eval/SPLIT/` as well, for pages that show them.
"""

import argparse
import shutil
import sys
from pathlib import Path

RUNS = Path(__file__).parent / 'runs'
FILES = ('config.json', 'provenance.json', 'metrics.jsonl', 'startup.json')


def keep(workdir: Path, folder: Path, *, figures: bool = False) -> None:
    """Copies the small files of a run.

    Args:
      workdir: of the run.
      folder: to copy to.
      figures: whether to copy the figures of evaluations, too.

    Raises:
      FileNotFoundError: `workdir` holds no run.
    """
    patterns = ('eval/*/metrics.json', *(['eval/*/*.png'] if figures else []))
    found = [path for pattern in patterns for path in workdir.glob(pattern)]
    evaluations = [path.relative_to(workdir) for path in found]
    for name in (*FILES, *evaluations):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(workdir / name, target)


def main() -> None:
    """Copies as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--to', required=True, help='the group, e.g. tinyvgg')
    parser.add_argument('--figures', action='store_true', help='copy figures, too')
    parser.add_argument('workdirs', nargs='+', type=Path)
    arguments = parser.parse_args()
    for workdir in arguments.workdirs:
        if not (workdir / 'metrics.jsonl').exists():
            sys.exit(f'error: {workdir} is not the work folder of a run')
        folder = RUNS / arguments.to / workdir.name
        keep(workdir, folder, figures=arguments.figures)
        print(folder)


if __name__ == '__main__':
    main()
