"""Which runs belong together: those that differ only by seed."""

import dataclasses
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from fmnist_jax import config as config_lib
from fmnist_jax.reporting import text
from fmnist_jax.reporting.comparison.names import join_names
from fmnist_jax.reporting.runs import Run

# Told in columns of their own.
_OWN_COLUMNS = ('seed', 'model.name', 'num_epochs')


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs of one recipe on the same data, of different seeds; one at least."""

    runs: tuple[Run, ...]

    @property
    def label(self) -> str:
        """The runs' names in one."""
        return join_names([run.name for run in self.runs])

    @property
    def config(self) -> dict[str, Any]:
        """Dotted fields and their values, the first run's."""
        return self.runs[0].config

    def values(self, of: Callable[[Run], float | int | None]) -> list[float | int]:
        """What `of` gives for each run that has it."""
        return [value for run in self.runs if (value := of(run)) is not None]


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Groups runs that differ only by seed, and in how they were carried out.

    A group has each seed once, so that its spread is that of seeds: further runs of the
    same config and seed start a group of their own.

    Returns:
      The groups, that of the highest mean validation accuracy first.
    """
    groups: list[list[Run]] = []
    for run in runs:
        for group in groups:
            seeds = {other.config['seed'] for other in group}
            if run.config['seed'] not in seeds and same_recipe(run, group[0]):
                group.append(run)
                break
        else:
            groups.append([run])
    return sorted(
        (Group(tuple(group)) for group in groups),
        key=lambda group: -statistics.mean(run.best['accuracy'] for run in group.runs),
    )


def same_recipe(a: Run, b: Run) -> bool:
    """Whether two runs differ by no more than seed and execution."""
    differing = differing_fields([a.config, b.config])
    return set(differing) <= {'seed'} and data_of(a) == data_of(b)


def data_of(run: Run) -> Any:
    """What tells the data of a run from others: checksums."""
    return run.provenance.get('data', {}).get('sha256')


def differing_fields(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The dotted fields that differ, but for those no result depends on.

    A field that is missing counts as None.
    """
    fields = sorted({field for config in configs for field in config})
    return [
        field
        for field in fields
        if config_lib.decides_result(field)
        and any(config.get(field) != configs[0].get(field) for config in configs)
    ]


def field_columns(groups: Sequence[Group]) -> dict[str, str]:
    """The fields that tell groups apart and are not in columns of their own.

    Returns:
      For each field its short name: the last part, where no other field has it.
    """
    configs = [run.config for group in groups for run in group.runs]
    fields = {field for config in configs for field in config}
    lasts = [field.rsplit('.', 1)[-1] for field in fields]
    short = {}
    for field in differing_fields(configs):
        if field not in _OWN_COLUMNS:
            last = field.rsplit('.', 1)[-1]
            short[field] = last if lasts.count(last) == 1 else field
    return short


def field_text(config: Mapping[str, Any], field: str) -> str:
    """A field's value; a dash where the config, of an earlier version, lacks it."""
    if field not in config:
        return text.MISSING
    return text.printable(text.config_value(config[field]))


def cluster(items: Iterable[Any], key: Callable[[Any], str]) -> Mapping[str, list[Any]]:
    """The items of each key, keys and items in the order they come in."""
    clusters: dict[str, list[Any]] = {}
    for item in items:
        clusters.setdefault(key(item), []).append(item)
    return clusters


def runs_of(groups: Sequence[Group]) -> list[Run]:
    """The runs of all groups."""
    return [run for group in groups for run in group.runs]


def names_of(groups: Sequence[Group], chosen: Callable[[Run], bool]) -> str:
    """The runs that are chosen, those of a group in one; nothing if none is."""
    some = ([run.name for run in group.runs if chosen(run)] for group in groups)
    return ', '.join(join_names(names) for names in some if names)


def labels_of(groups: Sequence[Group]) -> str:
    """The groups, in one line."""
    return ', '.join(group.label for group in groups)
