"""Tables of kept learning-rate range tests; `python -m results.tables` puts them in."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fmnist_jax.reporting.text import MISSING, markdown_table
from results import keep


def read(runs: Path, group: str) -> list[tuple[str, Mapping[str, Any]]]:
    """The range tests of `results/runs/GROUP/NAME/seedN`, by name."""
    files = sorted((runs / group).glob(f'*/seed*/{keep.LR_RANGE_TEST}'))
    return [(path.parts[-3], json.loads(path.read_text())) for path in files]


def suggestions_table(tests: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """A line a config: what each of its seeds suggests."""
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for name, test in tests:
        by_name.setdefault(name, []).append(test)
    rows = []
    for name, found in by_name.items():
        seeds = sorted(found, key=lambda test: test['config']['seed'])
        optimizer = seeds[0]['config']['optimizer']
        rows.append(
            (
                f'`{name}`',
                optimizer['name'],
                _number(optimizer['learning_rate']),
                ', '.join(_number(test['suggestion']) for test in seeds),
                ', '.join(_number(test['lowest_at']) for test in seeds),
                ', '.join(_number(test['diverged_at']) for test in seeds),
            )
        )
    header = ('config', 'optimizer', 'its rate', 'suggested', 'lowest loss', 'stopped')
    return markdown_table(header, rows)


def _number(value: float | None) -> str:
    return MISSING if value is None else f'{value:.2g}'
