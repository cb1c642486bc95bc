"""What a reader of a comparison must know: which figures do not compare, and why."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from fmnist_jax.reporting import groups as groups_lib
from fmnist_jax.reporting.groups import Group, join_names
from fmnist_jax.reporting.runs import Run

# Fields that say of what figures are, or how they are measured.
_MEASURES = MappingProxyType(
    {
        'data.train_split': 'Training figures are of different images',
        'data.validation_split': 'Validation figures are of different images',
        'data.test_split': 'Test figures are of different images',
        'train_metrics': 'Training figures are measured in different ways',
    }
)


def notes(groups: Sequence[Group]) -> list[str]:
    """Sentences; none if all runs are finished, evaluated and compare."""
    return [
        *_damaged(groups),
        *_unfinished(groups),
        *_different_data(groups),
        *_different_measures(groups),
        *_not_held_out(groups),
        *_not_of_the_best(groups),
        *_not_evaluated(groups),
        *_repeated(groups),
        *_different_devices(groups),
    ]


def _damaged(groups: Sequence[Group]) -> Iterator[str]:
    for run in _runs(groups):
        if run.damage:
            yield f'{run.name}: {run.damage}.'


def _unfinished(groups: Sequence[Group]) -> Iterator[str]:
    def is_done(run: Run) -> bool:
        return run.epochs >= run.config['num_epochs']

    def epochs(run: Run) -> str:
        return f'{run.epochs} of {run.config["num_epochs"]}'

    started = [run for run in _runs(groups) if not is_done(run)]
    for told in _cluster(started, epochs):
        some = _names(groups, lambda run, t=told: not is_done(run) and epochs(run) == t)
        yield f'Unfinished, with {told} epochs: {some}.'


def _different_data(groups: Sequence[Group]) -> Iterator[str]:
    clusters = _cluster(
        groups,
        lambda group: json.dumps(groups_lib.data_of(group.runs[0]), sort_keys=True),
    )
    if len(clusters) > 1:
        lists = '; '.join(map(_labels, clusters.values()))
        yield f'The data differ (by SHA-256), so that no figures compare: {lists}.'


def _different_measures(groups: Sequence[Group]) -> Iterator[str]:
    for field, problem in _MEASURES.items():
        clusters = _cluster(
            groups,
            lambda group, field=field: groups_lib.field_text(group.config, field),
        )
        if len(clusters) > 1:
            lists = (f'{value} ({_labels(some)})' for value, some in clusters.items())
            yield f'{problem}: {"; ".join(lists)}.'


def _not_held_out(groups: Sequence[Group]) -> Iterator[str]:
    for split, use in (('train', 'trained on'), ('validation', 'chosen by')):
        some = _names(groups, lambda run, split=split: _shares_test_images(run, split))
        if some:
            yield (
                f'Test figures are optimistic, on images that the model was {use}: '
                f'{some}.'
            )


def _shares_test_images(run: Run, split: str) -> bool:
    # What evaluation counted, or where it has not: whether the splits are the same.
    selection = run.evaluations.get('test', {}).get('selection', {})
    same = run.config.get(f'data.{split}_split') == run.config.get('data.test_split')
    return bool(selection.get(f'shared_with_{split}', same))


def _not_of_the_best(groups: Sequence[Group]) -> Iterator[str]:
    for run in _runs(groups):
        step = run.evaluations.get('test', {}).get('checkpoint_step')
        if step not in (None, run.best['step']):
            yield (
                f'{run.name}: the test figures are of step {step}, not of the best '
                f'epoch (step {run.best["step"]}).'
            )


def _not_evaluated(groups: Sequence[Group]) -> Iterator[str]:
    if some := _names(groups, lambda run: 'test' not in run.evaluations):
        yield (
            f'Not evaluated on test: {some} '
            '(python -m fmnist_jax.evaluate --workdir=…).'
        )


def _repeated(groups: Sequence[Group]) -> Iterator[str]:
    for number, group in enumerate(groups):
        for other in groups[:number]:
            if groups_lib.same_recipe(group.runs[0], other.runs[0]):
                yield (
                    f'{group.label} and {other.label} differ in nothing that decides '
                    'the result: a seed counts once a row.'
                )
                break


def _different_devices(groups: Sequence[Group]) -> Iterator[str]:
    devices = _cluster(_runs(groups), _devices)
    if len(devices) > 1:
        lists = (
            f'{told} ({_names(groups, lambda run, told=told: _devices(run) == told)})'
            for told in devices
        )
        yield f'Seconds are of different devices: {"; ".join(lists)}.'


def _devices(run: Run) -> str:
    devices = run.provenance.get('devices', {})
    parts = [f'{devices.get("number")} x {devices.get("kind")}']
    if devices.get('platform') == 'cpu':
        parts.append(run.provenance.get('host', {}).get('cpu', 'unknown processor'))
        parts.append('own kernels' if devices.get('kernels') else "XLA's kernels")
    return ', '.join(parts)


def _cluster(
    items: Sequence[Any], key: Callable[[Any], str]
) -> Mapping[str, list[Any]]:
    clusters: dict[str, list[Any]] = {}
    for item in items:
        clusters.setdefault(key(item), []).append(item)
    return clusters


def _runs(groups: Sequence[Group]) -> list[Run]:
    return [run for group in groups for run in group.runs]


def _names(groups: Sequence[Group], chosen: Callable[[Run], bool]) -> str:
    """The runs that are chosen, those of a group in one; nothing if none is."""
    some = ([run.name for run in group.runs if chosen(run)] for group in groups)
    return ', '.join(join_names(names) for names in some if names)


def _labels(groups: Sequence[Group]) -> str:
    return ', '.join(group.label for group in groups)
