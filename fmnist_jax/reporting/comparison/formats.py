"""The table of a comparison as text, Markdown and CSV."""

import csv
import io
import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fmnist_jax.reporting import console, text
from fmnist_jax.reporting.comparison.groups import Group, field_columns
from fmnist_jax.reporting.comparison.table import columns, figures


def to_text(
    groups: Sequence[Group], notes: Sequence[str], width: float | int = math.inf
) -> str:
    """The table, and the notes below it.

    Args:
      groups: the rows.
      notes: sentences.
      width: characters a line; what does not fit goes on below, the names repeated.
    """
    name, *others = (
        [column.heading, *(column.cell(group).text for group in groups)]
        for column in columns(groups)
    )
    blocks = []
    while others:
        block = [name, others.pop(0)]
        while others and _width([*block, others[0]]) <= width:
            block.append(others.pop(0))
        header, *rows = zip(*block, strict=True)
        blocks.append(console.table(rows, header))
    return '\n\n'.join((*blocks, *(['\n'.join(notes)] if notes else [])))


def _width(columns: Sequence[Sequence[str]]) -> int:
    """How wide `console.table` makes them."""
    return sum(max(map(len, column)) + 2 for column in columns) - 2


def to_markdown(groups: Sequence[Group], notes: Sequence[str]) -> str:
    """The table in Markdown, and the notes as a list; words are shown as they are."""
    shown = columns(groups)
    rows = [
        [
            text.markdown_code(cell) if column.is_words else cell
            for column in shown
            for cell in [column.cell(group).text]
        ]
        for group in groups
    ]
    table = text.markdown_table([column.heading for column in shown], rows)
    items = ''.join(f'- {text.markdown_text(note)}\n' for note in notes)
    return f'{table}\n{items}' if notes else table


def to_csv(groups: Sequence[Group], workdirs: Mapping[str, os.PathLike]) -> str:
    """One row a run, numbers as they are, and a column that names the run's group.

    Columns of fields that differ have their dotted names; what a run lacks is empty.
    Words that a spreadsheet would take for a formula are given a leading apostrophe,
    https://owasp.org/www-community/attacks/CSV_Injection.

    Args:
      groups: of runs.
      workdirs: for each run's name its work folder.
    """
    fields = field_columns(groups)
    rows = [
        {
            'group': group.label,
            'run': run.name,
            'workdir': text.printable(os.fspath(workdirs[run.name])),
            'model': run.config['model.name'],
            'seed': run.config['seed'],
            **{field: _plain(run.config.get(field)) for field in fields},
            'num_parameters': run.num_parameters,
            'num_epochs': run.config['num_epochs'],
            'epochs_done': run.epochs,
            **figures(run),
            'best_step': run.best['step'],
            'test_step': run.evaluations.get('test', {}).get('checkpoint_step'),
        }
        for group in groups
        for run in group.runs
    ]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, rows[0].keys(), lineterminator='\n')
    writer.writeheader()
    writer.writerows({key: _safe(value) for key, value in row.items()} for row in rows)
    return buffer.getvalue()


def _plain(value: Any) -> Any:
    is_plain = value is None or isinstance(value, int | float | str)
    return value if is_plain else text.config_value(value)


def _safe(value: Any) -> Any:
    if isinstance(value, str) and re.match(r'[=+\-@\t\r]', value):
        return f"'{value}"
    return value
