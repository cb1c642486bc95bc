"""What a reader of a comparison must know: which figures do not compare, and why."""

import json
from collections.abc import Iterator, Sequence
from types import MappingProxyType

from fmnist_jax.reporting import text
from fmnist_jax.reporting.comparison import groups as groups_lib
from fmnist_jax.reporting.comparison.groups import (
    Group,
    cluster,
    labels_of,
    names_of,
    runs_of,
)
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
        *_of_unknown_origin(groups),
        *_not_of_the_best(groups),
        *_not_evaluated(groups),
        *_repeated(groups),
        *_different_devices(groups),
    ]


def _damaged(groups: Sequence[Group]) -> Iterator[str]:
    for run in runs_of(groups):
        if run.damage:
            yield f'{run.name}: {run.damage}.'


def _unfinished(groups: Sequence[Group]) -> Iterator[str]:
    def is_done(run: Run) -> bool:
        return run.epochs >= run.config['num_epochs']

    def epochs(run: Run) -> str:
        return f'{run.epochs} of {run.config["num_epochs"]}'

    started = [run for run in runs_of(groups) if not is_done(run)]
    for told in cluster(started, epochs):
        some = names_of(
            groups, lambda run, t=told: not is_done(run) and epochs(run) == t
        )
        yield f'Unfinished, with {told} epochs: {some}.'


def _different_data(groups: Sequence[Group]) -> Iterator[str]:
    clusters = cluster(
        groups,
        lambda group: json.dumps(groups_lib.data_of(group.runs[0]), sort_keys=True),
    )
    if len(clusters) > 1:
        lists = '; '.join(map(labels_of, clusters.values()))
        yield f'The data differ (by SHA-256), so that no figures compare: {lists}.'


def _different_measures(groups: Sequence[Group]) -> Iterator[str]:
    for field, problem in _MEASURES.items():
        clusters = cluster(
            groups,
            lambda group, field=field: groups_lib.field_text(group.config, field),
        )
        if len(clusters) > 1:
            lists = (f'{value} ({labels_of(some)})' for value, some in clusters.items())
            yield f'{problem}: {"; ".join(lists)}.'


def _not_held_out(groups: Sequence[Group]) -> Iterator[str]:
    for split, use in (('train', 'trained on'), ('validation', 'chosen by')):
        some = names_of(
            groups, lambda run, split=split: _shares_test_images(run, split)
        )
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


def _of_unknown_origin(groups: Sequence[Group]) -> Iterator[str]:
    for origin in cluster(filter(_unknown_origin, runs_of(groups)), _unknown_origin):
        some = names_of(groups, lambda run, told=origin: _unknown_origin(run) == told)
        yield (
            f'{some} learned from {origin}, whose training images are not known here.'
        )


def _unknown_origin(run: Run) -> str:
    """The folders; nothing if there are none, or evaluation counted their splits."""
    first = run.provenance.get('init_from')
    origins = [*([first] if first else []), *run.provenance.get('teachers', [])]
    if not origins:
        return ''
    selection = run.evaluations.get('test', {}).get('selection')
    unknown = ', '.join(origin['workdir'] for origin in origins)
    if selection:
        unknown = selection.get('unknown_origin') or ''
    return text.printable(unknown)


def _not_of_the_best(groups: Sequence[Group]) -> Iterator[str]:
    for run in runs_of(groups):
        step = run.evaluations.get('test', {}).get('checkpoint_step')
        if step not in (None, run.best['step']):
            yield (
                f'{run.name}: the test figures are of step {step}, not of the best '
                f'epoch (step {run.best["step"]}).'
            )


def _not_evaluated(groups: Sequence[Group]) -> Iterator[str]:
    if some := names_of(groups, lambda run: 'test' not in run.evaluations):
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
    devices = cluster(runs_of(groups), _devices)
    if len(devices) > 1:
        lists = (
            f'{told} ({names_of(groups, lambda run, told=told: _devices(run) == told)})'
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
