"""Names of runs in a comparison: short, distinct, of one line; and several in one."""

import itertools
import os
import re
from collections.abc import Sequence

from etils import epath

from fmnist_jax.reporting import text


def name_folders(folders: Sequence[epath.PathLike]) -> list[str]:
    """Names of one line for folders: as many of the last parts as tell most apart.

    What these do not tell apart, such as a line end and its escape, is numbered.
    """
    parts = [os.fspath(folder).rstrip('/').split('/') for folder in folders]
    longest = max(map(len, parts), default=1)
    choices = [
        [text.printable('/'.join(part[-number:])) for part in parts]
        for number in range(1, longest + 1)
    ]
    # max keeps the first of equals, which is the shortest.
    return _number_repeats(max(choices, key=lambda names: len(set(names))))


def _number_repeats(names: Sequence[str]) -> list[str]:
    distinct: list[str] = []
    for name in names:
        numbered = (f'{name} ({number})' for number in itertools.count(2))
        free = (other for other in numbered if other not in {*names, *distinct})
        distinct.append(name if name not in distinct else next(free))
    return distinct


def join_names(names: Sequence[str]) -> str:
    """Several names as a shell would expand them: `seed{0..4}`, `lr{0.1,0.2}-a`."""
    if len(names) == 1:
        return names[0]
    # Numbers are not cut in two.
    start = re.sub(r'[\d.]+$', '', _common_prefix(names))
    rests = [name[len(start) :] for name in names]
    backwards = _common_prefix([rest[::-1] for rest in rests])
    end = re.sub(r'^[\d.]+', '', backwards[::-1])
    middles = [rest[: len(rest) - len(end)] for rest in rests]
    if not start and not end:
        return ', '.join(names)
    return f'{start}{{{_range(middles) or ",".join(middles)}}}{end}'


def _common_prefix(names: Sequence[str]) -> str:
    # Of characters, not of folders.
    return os.path.commonprefix(names)  # noqa: RUF071


def _range(names: Sequence[str]) -> str | None:
    """`0..4`, if that is what the names are."""
    if len(names) < 3 or not all(re.fullmatch(r'0|[1-9]\d*', name) for name in names):
        return None
    first = int(names[0])
    if [int(name) for name in names] != list(range(first, first + len(names))):
        return None
    return f'{names[0]}..{names[-1]}'
