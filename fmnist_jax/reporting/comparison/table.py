"""The table of a comparison: what each group of runs has in each column."""

import dataclasses
from collections.abc import Callable, Sequence

from fmnist_jax.reporting import text
from fmnist_jax.reporting.comparison.groups import Group, field_columns, field_text
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
