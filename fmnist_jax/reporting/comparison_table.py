"""The table of a comparison: a row for each group, and for CSV one for each run."""

import csv
import dataclasses
import io
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fmnist_jax.reporting import console, text
from fmnist_jax.reporting.groups import Group, field_columns, field_text
from fmnist_jax.reporting.runs import Run


@dataclasses.dataclass(frozen=True)
class Cell:
    """What a group has in a column: as text, and as what rows are sorted by."""

    text: str
    value: float | int | str


@dataclasses.dataclass(frozen=True)
class Column:
    """A column: its heading, what a group has in it, whether that is words."""

    heading: str
    cell: Callable[[Group], Cell]
    is_words: bool = False


# Headings of the figures that are told as mean and spread, digits after the point, and
# what they are multiplied by.
_SPREADS = (
    ('seconds', 'train_seconds', 1, 1),
    ('train acc. %', 'train_accuracy', 2, 100),
    ('val. acc. %', 'validation_accuracy', 2, 100),
    ('test acc. %', 'test_accuracy', 2, 100),
    ('train loss', 'train_loss', 4, 1),
    ('val. loss', 'validation_loss', 4, 1),
    ('test loss', 'test_loss', 4, 1),
    ('best epoch', 'best_epoch', 0, 1),
)


def figures(run: Run) -> dict[str, float | int | None]:
    """The figures of a run, losses in nats, accuracies as fractions.

    Train and validation are those of the epoch of highest validation accuracy, the
    earliest on ties; test is None where it was not evaluated.
    """
    best = run.best
    (train,) = (line for line in run.lines('train') if line['epoch'] == best['epoch'])
    test = run.evaluations.get('test', {})
    return {
        'best_epoch': best['epoch'],
        'train_seconds': run.seconds,
        'train_loss': train['loss'],
        'train_accuracy': train['accuracy'],
        'validation_loss': best['loss'],
        'validation_accuracy': best['accuracy'],
        'test_loss': test.get('loss'),
        'test_accuracy': test.get('accuracy'),
    }


def columns(groups: Sequence[Group]) -> list[Column]:
    """The columns that these groups need."""
    return [
        Column('run', lambda group: _words(group.label), is_words=True),
        Column('seeds', lambda group: _number(len(group.runs))),
        Column('model', lambda group: _field(group, 'model.name'), is_words=True),
        *(
            Column(
                short, lambda group, field=field: _field(group, field), is_words=True
            )
            for field, short in field_columns(groups).items()
        ),
        Column('parameters', _parameters),
        Column('epochs', _epochs),
        *(Column(heading, _spread(*how)) for heading, *how in _SPREADS),
    ]


def _words(words: str) -> Cell:
    return Cell(words, words)


def _number(number: int) -> Cell:
    return Cell(f'{number:,}', number)


def _field(group: Group, field: str) -> Cell:
    value = group.config.get(field)
    words = field_text(group.config, field)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return Cell(words, value if is_number else words)


def _parameters(group: Group) -> Cell:
    numbers = group.values(lambda run: run.num_parameters)
    return _number(numbers[0]) if numbers else Cell(text.MISSING, '')


def _epochs(group: Group) -> Cell:
    """Those done, of those planned where they are not all."""
    told = {
        f'{run.epochs}/{planned}' if run.epochs < planned else str(run.epochs)
        for run in group.runs
        for planned in [run.config['num_epochs']]
    }
    return Cell(', '.join(sorted(told)), max(run.epochs for run in group.runs))


def _spread(figure: str, digits: int, factor: int) -> Callable[[Group], Cell]:
    def cell(group: Group) -> Cell:
        values = group.values(lambda run: figures(run)[figure])
        if not values:
            return Cell(text.MISSING, '')
        scaled = [factor * value for value in values]
        words = text.spread(scaled, digits)
        fewer = f' (n = {len(values)})' if len(values) < len(group.runs) else ''
        return Cell(words + fewer, sum(scaled) / len(scaled))

    return cell


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
