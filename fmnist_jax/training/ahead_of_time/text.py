"""The report of a compilation for people."""

from collections.abc import Mapping
from typing import Any


def to_text(report: Mapping[str, Any]) -> str:
    """The report of `compile.make_report`, some lines."""
    cores = report['cores']
    lines = [
        f'{report["model"]}, {report["num_parameters"]:,} parameters, '
        f'{report["precision"]}: {report["batch_per_core"]:,} examples a core, batches '
        f'of {report["batch_size"]:,}',
        f'{report["topology"]}: {cores:,} cores of {report["chip"]}, '
        f'{report["tensor_cores"] // cores} TensorCore(s) each',
        f'compiled with libtpu {report["versions"]["libtpu"]}, '
        f'JAX {report["versions"]["jax"]}; nothing was run',
    ]
    if 'training' in report:
        lines += _program(report, 'training', 'step')
    if 'evaluation' in report:
        lines += _program(report, 'evaluation', 'call')
    return '\n'.join(lines) + '\n'


def _program(report: Mapping[str, Any], name: str, unit: str) -> list[str]:
    found = report[name]
    bound, memory = found['roofline'], found['memory']
    capacity = report['memory_per_core']
    examples = found['examples'] * report['cores']
    steps = found['steps_per_call']
    sends = [
        f'{x["count"]:g} {x["name"]} of {quantity(x["bytes"], "B")}'
        for x in found['collectives']
    ]
    cycles = f'{found["cycles"]:,} cycles'
    if once := found['cycles_once_a_call']:
        cycles += f' and {once:,} once a call'
    rows = {
        'arithmetic': f'{quantity(found["flops"], "FLOP")}, '
        f'{quantity(found["flops"] / found["examples"], "FLOP")} an image',
        'bytes': f'{quantity(found["hbm_bytes"], "B")} to and from HBM '
        f'(cost analysis: {quantity(found["bytes_accessed"], "B")} accessed)',
        'memory': f'{quantity(memory["total"], "B")} of {capacity / 2**30:g} GiB '
        f'({100 * memory["total"] / capacity:.1f} %): '
        + ', '.join(f'{k} {quantity(memory[k], "B")}' for k in list(memory)[1:]),
        'collectives': ', '.join(sends) or 'none',
        'at least': f'{quantity(bound["total"], "s")}: arithmetic '
        f'{quantity(bound["arithmetic"], "s")}, memory '
        f'{quantity(bound["memory"], "s")}, communication '
        f'{quantity(bound["communication"], "s")}; the limit is {bound["limit"]}',
        'estimate': f'{quantity(found["estimated_seconds"], "s")} '
        f'({cycles} by the compiler, and communication), '
        f'{examples / found["estimated_seconds"]:,.0f} images/s on all cores',
        'compiled in': f'{found["compile_seconds"]:.1f} s',
    }
    title = f'{name}, a {unit} on a core'
    if steps > 1:
        title += f' ({steps} of them a call)'
    return ['', title, *(f'  {key:12} {value}' for key, value in rows.items())]


def quantity(value: float | int, unit: str) -> str:
    """Such as `53.6 MFLOP`, `31 kB` or `8.3 µs`."""
    scales = ((1e12, 'T'), (1e9, 'G'), (1e6, 'M'), (1e3, 'k'), (1, ''))
    if unit == 's':
        scales = ((1, ''), (1e-3, 'm'), (1e-6, 'µ'), (1e-9, 'n'))
    # Rounded before, or 999,900 B were 1e+03 kB.
    value = float(f'{value:.3g}')
    scale, prefix = next((s for s in scales if abs(value) >= s[0]), scales[-1])
    return f'{value / scale:.3g} {prefix}{unit}'
