"""Writes the tables and claims that are made from runs: python -m results.tables

What stands between `<!-- table: KIND GROUP -->` and `<!-- end of table -->` in a page,
and after `Measured (results/runs/GROUP):` in a config's docstring, is made from the
small files of `results/runs`; see `results/keep.py`. `TABLES` has the kinds. GROUP is

- a folder of runs, for those of `run_tables` and `range_tests`;
- a file, for those of `report_tables` and `tpu`;
- a project of `results/reproduction/recipes/` or a framework that its recipes were run
  in, as NAME is a config of its recipes in `Published, and here (NAME in
  results/reproduction.md):`;
- `all`, for those of the rows of `results/frontier/rows.py`.

The figures in results/frontier/ and results/reproduction/ are made, too.

`--check` writes nothing and fails if a file is not what it would be.
"""

import argparse
import re
import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from fmnist_jax.errors import UserError, unknown_name
from results import figure_files, range_tests, report_tables, run_tables, tpu
from results.frontier import ablations, cells, choices
from results.frontier import runs as frontier_runs
from results.frontier import tables as frontier_tables
from results.frontier.rows import ROWS
from results.reproduction import comparison, framework_tables
from results.reproduction import tables as reproduction_tables

ROOT = Path(__file__).parent.parent
PAGES = ('README.md', 'results/*.md')
CONFIGS = ('configs/**/*.py',)

_TABLE = re.compile(
    r'(<!-- table: (?P<kind>\w+) (?P<group>\S+) -->\n)'
    r'(?:(?!<!-- table: ).)*?(<!-- end of table -->)',
    re.S,
)
_TABLE_BEGINS = re.compile('<!-- table: ')
_CLAIM = re.compile(
    r'(Measured \(results/runs/(?P<group>[^)\s]+)\):\n).*?(?=\n\n|\n?""")', re.S
)
_REPRODUCED = re.compile(
    r'(Published, and here \((?P<config>\w+) in results/reproduction\.md\):\n)'
    r'.*?(?=\n\n|\n?""")',
    re.S,
)

# What reads a table's group, and what makes the table of it.
TABLES: Mapping[str, tuple[Callable, Callable]] = MappingProxyType(
    {
        'headline': (run_tables.read_group, run_tables.headline_table),
        'seeds': (run_tables.read_group, run_tables.seeds_table),
        'trials': (run_tables.read_group, run_tables.trials_table),
        'peers': (report_tables.read_report, report_tables.peers_table),
        'waits': (report_tables.read_report, report_tables.waits_table),
        'augmentation': (report_tables.read_report, report_tables.augmentation_table),
        'soak': (report_tables.read_report, report_tables.soak_table),
        'mutations': (report_tables.read_report, report_tables.mutations_table),
        'sweep': (report_tables.read_report, report_tables.sweep_table),
        'range_tests': (range_tests.read, range_tests.suggestions_table),
        'framework': (
            framework_tables.read_framework,
            framework_tables.framework_table,
        ),
        'own_seeds': (
            framework_tables.read_own_seeds,
            framework_tables.own_seeds_table,
        ),
        'sweep_trials': (report_tables.read_report, report_tables.sweep_trials_table),
        'agreement': (comparison.read_all, reproduction_tables.agreement_table),
        'reproduction': (comparison.read_project, reproduction_tables.project_table),
        'goals': (cells.read, frontier_tables.goals_table),
        'calibration': (cells.read, frontier_tables.calibration_table),
        'choices': (cells.read, choices.choices_table),
        'ablations': (cells.read, ablations.ablations_table),
        'robustness': (cells.read, frontier_tables.robustness_table),
        'time': (cells.read, frontier_tables.time_table),
        'elsewhere': (frontier_tables.read_elsewhere, frontier_tables.elsewhere_table),
        'tpu_steps': (tpu.read, tpu.steps_table),
        'tpu_evaluation': (tpu.read, tpu.evaluation_table),
        'tpu_scaling': (tpu.read, tpu.scaling_table),
        'tpu_larger': (tpu.read, tpu.larger_table),
    }
)


def render(text: str, runs: Path) -> str:
    """A page or a config's source with its tables and claims made anew.

    Raises:
      UserError: a table is of no kind of `TABLES`, what it is of is missing, or it has
        no end.
    """
    if len(_TABLE_BEGINS.findall(text)) > len(_TABLE.findall(text)):
        raise UserError(
            'a table begins, as in <!-- table: seeds tinyvgg -->, and has no '
            '<!-- end of table --> before the next'
        )

    def table(match: re.Match) -> str:
        if match['kind'] not in TABLES:
            raise unknown_name('kind of table', match['kind'], TABLES)
        read, make = TABLES[match['kind']]
        made = make(read(runs, match['group']))
        return f'{match[1]}{made}{match[4]}'

    def sentence(match: re.Match) -> str:
        made = _claim(runs, match['group'])
        return f'{match[1]}{textwrap.fill(made, 88)}'

    def reproduced(match: re.Match) -> str:
        sentences = reproduction_tables.claims(runs, match['config'])
        lines = (textwrap.fill(f'- {s}', 88, subsequent_indent='  ') for s in sentences)
        return match[1] + '\n'.join(lines)

    text = _REPRODUCED.sub(reproduced, text)
    return _CLAIM.sub(sentence, _TABLE.sub(table, text))


def _claim(runs: Path, group: str) -> str:
    """What a config's docstring says of its runs, of which none may be there yet."""
    planned = {f'{frontier_runs.GROUP}/{row.name}' for row in ROWS}
    if group in planned and not (runs / group).exists():
        return 'not measured yet.'
    return run_tables.claim(run_tables.read_group(runs, group))


def files(root: Path) -> list[Path]:
    """Whatever may hold a table or a claim."""
    patterns = (*PAGES, *CONFIGS)
    return sorted(path for pattern in patterns for path in root.glob(pattern))


def _update_figures(*, write: bool) -> list[str]:
    """The figures that show other data than the runs make; written, if so asked."""
    # Matplotlib takes half a second to import; who makes tables alone need not wait.
    from results.frontier import figures as frontier  # noqa: PLC0415
    from results.reproduction import figures as reproduction  # noqa: PLC0415

    stale = []
    for figures, folder in ((frontier, 'frontier'), (reproduction, 'reproduction')):
        for name, data in figures.read(ROOT / 'results' / 'runs').items():
            path = ROOT / 'results' / folder / name
            if figure_files.data_of(path) != data:
                stale.append(str(path.relative_to(ROOT)))
                if write:
                    path.write_bytes(figures.draw(name, data))
    return stale


def _update_pages(*, write: bool) -> list[str]:
    """The files that are not what the runs make them; written, if so asked."""
    stale = []
    for path in files(ROOT):
        text = path.read_text()
        try:
            made = render(text, ROOT / 'results' / 'runs')
        except UserError as error:
            raise UserError(f'{path.relative_to(ROOT)}: {error}') from error
        if made != text:
            stale.append(str(path.relative_to(ROOT)))
            if write:
                path.write_text(made)
    return stale


def main() -> None:
    """Writes, or checks, all the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--check', action='store_true', help='write nothing')
    check = parser.parse_args().check
    try:
        # First: a page that cannot be made stops the rest.
        stale = _update_figures(write=not check) + _update_pages(write=not check)
    except (reproduction_tables.UnexplainedError, UserError) as error:
        sys.exit(f'error: {error}')
    if stale and check:
        sys.exit(
            f'not as results/runs makes them: {", ".join(stale)}; run '
            'python -m results.tables'
        )
    print(f'written: {", ".join(stale) or "nothing"}')


if __name__ == '__main__':
    main()
