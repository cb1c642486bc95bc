"""Values as they stand in tables: configs' values, means and spreads, Markdown."""

import re
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

# What stands in a table where there is nothing.
MISSING = '-'


def config_value(value: Any) -> str:
    """A config's value; operations as their names and arguments."""
    if not isinstance(value, list | tuple):
        return str(value)
    return ', '.join(map(_entry, value)) or 'none'


def _entry(value: Any) -> str:
    if not isinstance(value, Mapping):
        return str(value)
    arguments = (f'{key}={item}' for key, item in value.items() if key != 'name')
    return f'{value.get("name")}({", ".join(arguments)})'


def spread(values: Sequence[float | int], digits: int) -> str:
    """Mean ± sample standard deviation (n - 1), or the one value there is."""
    mean = f'{statistics.mean(values):.{digits}f}'
    if len(values) == 1:
        return mean
    return f'{mean} ± {statistics.stdev(values):.{digits}f}'


def printable(name: str) -> str:
    """A name in one line: line ends, terminal codes and broken bytes are escaped."""
    return ''.join(
        char if char.isprintable() else char.encode('unicode_escape').decode()
        for char in name
    )


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table in GitHub's Markdown, https://github.github.com/gfm/#tables-extension-.

    Cells are Markdown; a `|` in them is escaped.
    """
    lines = [header, ['---'] * len(header), *rows]
    cells = ([str(cell).replace('|', r'\|') for cell in line] for line in lines)
    return ''.join(f'| {" | ".join(line)} |\n' for line in cells)


def markdown_code(text: str) -> str:
    """Text that Markdown shows as it is, https://spec.commonmark.org/#code-spans."""
    if not text:
        return ''
    fence = '`' * (max(map(len, re.findall('`+', text)), default=0) + 1)
    space = ' ' if text.startswith('`') or text.endswith('`') else ''
    return f'{fence}{space}{text}{space}{fence}'


def markdown_text(text: str) -> str:
    """A sentence with what Markdown would take for markup in it escaped."""
    return re.sub(r'([\\`*_<>\[\]|~&])', r'\\\1', text)
