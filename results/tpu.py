"""Compiles the configs for slices of Cloud TPUs, and makes tables of what comes out.

    python -m results.tpu

writes what is missing of `results/runs/tpu/CONFIG/`, a JSON file of
`python -m fmnist_jax.compile --json` for each slice and batch. It needs the extra
`tpu`, and no TPU.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fmnist_jax.reporting.text import markdown_table
from fmnist_jax.training.ahead_of_time.chips import CHIPS
from fmnist_jax.training.ahead_of_time.text import quantity

RUNS = Path(__file__).parent / 'runs' / 'tpu'

_CNNS = '--config=configs/seeds/keras_cnns.py'
# The flags of each; variants that differ in the data alone are one.
CONFIGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        'tinyvgg': ('--config=configs/tinyvgg.py',),
        'tinyvgg_sgd': ('--config=configs/seeds/tinyvgg_sgd.py',),
        'rand_augment': ('--config=configs/seeds/tinyvgg_sgd.py:rand_augment',),
        'tinyvgg_3block': ('--config=configs/seeds/tinyvgg_3block.py',),
        'keras_tinyvgg': ('--config=configs/seeds/keras_tinyvgg.py',),
        'bn_cnn': ('--config=configs/seeds/bn_cnn.py',),
        'arch1': (_CNNS,),
        'arch2': (_CNNS, '--config.model.name=arch2'),
        'vgg_like': (_CNNS, '--config.model.name=vgg_like'),
        'linear': ('--config=configs/seeds/linear.py',),
        'linear_v0': ('--config=configs/seeds/linear_v0.py',),
    }
)
SLICES = ('v5e:2x4', 'v5e:16x16', 'v5p:8x8x16')
# A smaller slice of the same chip, where a larger batch shows what an image costs.
_SMALL = MappingProxyType({'v5e': 'v5e:2x4', 'v5p': 'v5p:2x2x2'})
_LARGER = 256
# What two batches say is not carried on beyond this.
_FARTHEST = 1024


def _compile(
    flags: Sequence[str], folder: Path, slice_: str, batch: int | None
) -> None:
    """Compiles if that is still to be done, for the default batch if none is given."""
    path = folder / f'{slice_.replace(":", "-")}-{batch or "default"}.json'
    if path.exists():
        return
    command = [sys.executable, '-m', 'fmnist_jax.compile', *flags]
    command += ['--json', f'--topology={slice_}']
    command += [f'--batch_per_core={batch}'] if batch else []
    print(' '.join(command[1:]), flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    # What does not fit is a result, too.
    if not done.stdout:
        sys.exit(done.returncode)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(done.stdout)


def read(runs: Path, group: str) -> dict[str, list[dict[str, Any]]]:
    """Of each config in `runs/group`, all that was compiled of it."""
    folders = {name: runs / group / name for name in CONFIGS}
    return {
        name: [json.loads(path.read_text()) for path in sorted(folder.glob('*.json'))]
        for name, folder in folders.items()
        if folder.exists()
    }


def steps_table(compiled: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """A row for each config and slice: what a training step needs."""
    header = (
        'config',
        'slice',
        'cores',
        'a core',
        'batch',
        'memory',
        'FLOP',
        'HBM',
        'collectives',
        'arithmetic',
        'HBM',
        'communication',
        'at least',
        'estimate',
        'images/s',
    )
    rows = [_step_row(name, report) for name, report in _defaults(compiled)]
    return markdown_table(header, rows)


def _step_row(name: str, report: Mapping[str, Any]) -> list[Any]:
    row = [f'`{name}`', f'`{report["topology"]}`', f'{report["cores"]:,}']
    row += [report['batch_per_core'], f'{report["batch_size"]:,}']
    if 'training' not in report:
        return [*row, report['error'], *[''] * 9]
    step = report['training']
    bound = step['roofline']
    sends = (
        f'{x["count"]:g} x {quantity(x["bytes"], "B")}' for x in step['collectives']
    )
    share = step['memory']['total'] / report['memory_per_core']
    return [
        *row,
        f'{quantity(step["memory"]["total"], "B")} ({100 * share:.1f} %)',
        quantity(step['flops'], ''),
        quantity(step['hbm_bytes'], 'B'),
        ', '.join(sends),
        quantity(bound['arithmetic'], 's'),
        quantity(bound['memory'], 's'),
        quantity(bound['communication'], 's'),
        quantity(bound['total'], 's'),
        quantity(step['estimated_seconds'], 's'),
        f'{_images_per_second(report):,.0f}',
    ]


def evaluation_table(compiled: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """A row for each config and slice: what a call that evaluates needs."""
    header = ('config', 'slice', 'a core', 'memory', 'FLOP', 'at least', 'estimate')
    rows = []
    for name, report in _defaults(compiled):
        if 'evaluation' in report:
            call = report['evaluation']
            rows.append(
                [
                    f'`{name}`',
                    f'`{report["topology"]}`',
                    call['examples'],
                    quantity(call['memory']['total'], 'B'),
                    quantity(call['flops'], ''),
                    quantity(call['roofline']['total'], 's'),
                    quantity(call['estimated_seconds'], 's'),
                ]
            )
    return markdown_table(header, rows)


def scaling_table(compiled: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """A row for each config and slice: what does not shrink, and the batch it takes."""
    header = (
        'config',
        'slice',
        'communication',
        'a call',
        'fixed',
        'an image',
        'on images now',
        'by peaks',
        'by estimate',
        'most',
        'on images at most',
    )
    rows = []
    for name, report in _defaults(compiled):
        larger = _larger(compiled[name], report)
        if 'training' in report and 'training' in (larger or {}):
            rows.append(_scaling_row(name, report, larger))
    return markdown_table(header, rows)


def larger_table(compiled: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """A row for each config on eight cores: the default batch beside the larger."""
    header = ('config', 'a core', 'images/s', 'a core', 'images/s', 'ratio')
    rows = []
    for name, report in _defaults(compiled):
        larger = _larger(compiled[name], report)
        if larger is None or larger['topology'] != report['topology']:
            continue
        if 'training' in report and 'training' in larger:
            now, then = _images_per_second(report), _images_per_second(larger)
            batches = report['batch_per_core'], larger['batch_per_core']
            row = [batches[0], f'{now:,.0f}', batches[1], f'{then:,.0f}']
            rows.append([f'`{name}`', *row, f'{then / now:.1f}'])
    return markdown_table(header, rows)


def _images_per_second(report: Mapping[str, Any]) -> float:
    return report['batch_size'] / report['training']['estimated_seconds']


def _scaling_row(
    name: str, report: Mapping[str, Any], larger: Mapping[str, Any]
) -> list[Any]:
    step, chip = report['training'], CHIPS[report['topology'].partition(':')[0]]
    batch, communication = report['batch_per_core'], step['roofline']['communication']
    cycles, once = step['cycles'], step['cycles_once_a_call']
    if step['steps_per_call'] == 1:
        # There is no loop to tell them apart by.
        once = larger['training']['cycles_once_a_call']
        cycles -= once
    more = larger['training']['cycles'] - cycles
    image = max(0, more / (larger['batch_per_core'] - batch) / chip.clock)
    fixed = max(0, cycles / chip.clock - image * batch)
    call = once / step['steps_per_call'] / chip.clock
    still = fixed + call + communication
    most = report['num_train'] // report['cores']
    by_peaks = communication * chip.flops / (step['flops'] / batch)

    def on_images(examples: int) -> str:
        return f'{100 * image * examples / (image * examples + still):.0f} %'

    return [
        f'`{name}`',
        f'`{report["topology"]}`',
        quantity(communication, 's'),
        quantity(call, 's'),
        quantity(fixed, 's'),
        quantity(image, 's'),
        on_images(batch),
        f'{by_peaks:,.0f}',
        f'{still / image:,.0f}' if still < image * _FARTHEST else f'> {_FARTHEST:,}',
        f'{most:,}',
        on_images(most),
    ]


def _defaults(
    compiled: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Of each config and slice, what was compiled with the smaller batch."""
    for name, reports in compiled.items():
        for slice_ in SLICES:
            found = [x for x in reports if x['topology'] == slice_]
            if found:
                yield name, min(found, key=lambda x: x['batch_per_core'])


def _larger(
    reports: Sequence[Mapping[str, Any]], report: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    """What was compiled for the same chip with the larger batch."""
    small = _SMALL[report['topology'].partition(':')[0]]
    found = [x for x in reports if x['topology'] == small]
    return max(found, key=lambda x: x['batch_per_core'], default=None)


def main() -> None:
    """Compiles what has not been compiled yet."""
    for name, flags in CONFIGS.items():
        for slice_ in SLICES:
            _compile(flags, RUNS / name, slice_, None)
        for slice_ in _SMALL.values():
            _compile(flags, RUNS / name, slice_, _LARGER)


if __name__ == '__main__':
    main()
