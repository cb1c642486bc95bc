"""Compiling for a TPU that is not there: arithmetic, errors, and the real compiler."""

import dataclasses
import importlib.util
import json
import math
import os

import jax
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pallas_tpu

from benchmarks.work import training_flops
from configs import tinyvgg
from configs.seeds import linear
from fmnist_jax.errors import UserError
from fmnist_jax.models import create_model
from fmnist_jax.training.ahead_of_time import compile as ahead
from fmnist_jax.training.ahead_of_time import costs, hlo, programs, text
from fmnist_jax.training.ahead_of_time import topology as topology_lib
from fmnist_jax.training.ahead_of_time.chips import CHIPS
from fmnist_jax.training.ahead_of_time.roofline import roofline
from fmnist_jax.training.ahead_of_time.topology import Topology
from fmnist_jax.training.build import build_experiment
from tests.conftest import run_script
from tests.mistakes import assert_fails

needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec('libtpu') is None,
    reason='libtpu, the compiler for TPUs, is not installed (extra `tpu`)',
)

# Lines of what libtpu 0.0.42.1 made of tinyvgg, and of its forms of other collectives.
RECORDED = """\
HloModule jit__fun, is_scheduled=true

%add (x.1: f32[], y.1: f32[]) -> f32[] {
  %x.1 = f32[]{:T(128)} parameter(0)
  %y.1 = f32[]{:T(128)} parameter(1)
  ROOT %sum.1 = f32[]{:T(128)} add(%x.1, %y.1)
}

%picked (images.1: u8[55000,28,28], rows.1: s32[8]) -> u8[8,28,28] {
  %images.1 = u8[55000,28,28]{0,2,1:T(8,128)(4,1)} parameter(0)
  %rows.1 = s32[8]{0:T(128)} parameter(1)
  ROOT %gather.1 = u8[8,28,28]{0,2,1:T(8,128)(4,1)} gather(%images.1, %rows.1)
}

%body (state.1: (s32[], f32[7742], u8[55000,28,28])) -> (s32[], f32[7742], /*index=2*/u8[55000,28,28]) {
  %state.1 = (s32[]{:T(128)}, f32[7742]{0:T(1024)}, u8[55000,28,28]{0,2,1:T(8,128)(4,1)}) parameter(0)
  %step.1 = s32[]{:T(128)} get-tuple-element(%state.1), index=0
  %sums.1 = f32[7742]{0:T(1024)} get-tuple-element(%state.1), index=1
  %images.2 = u8[55000,28,28]{0,2,1:T(8,128)(4,1)} get-tuple-element(%state.1), index=2
  %rows.2 = s32[8]{0:T(128)S(1)} iota(), iota_dimension=0, backend_config={"window_config":{"estimated_cycles":"1824"}}
  %batch.1 = u8[8,28,28]{0,2,1:T(8,128)(4,1)S(1)} fusion(%images.2, %rows.2), kind=kCustom, calls=%picked, metadata={op_name="jit(_fun)/while/body/gather"}
  %psum.15 = f32[7742]{0:T(1024)S(1)} all-reduce(%sums.1), channel_id=1, replica_groups={{0,1,2,3,4,5,6,7}}, use_global_device_ids=true, to_apply=%add, backend_config={"flag_configs":[]}
  ROOT %next.1 = (s32[]{:T(128)}, f32[7742]{0:T(1024)}, /*index=2*/u8[55000,28,28]{0,2,1:T(8,128)(4,1)}) tuple(%step.1, %psum.15, %images.2)
}

%more (state.2: (s32[], f32[7742], u8[55000,28,28])) -> pred[] {
  %limit.1 = s32[]{:T(128)} constant(128), metadata={op_name="jit(_fun)"}
  %state.2 = (s32[]{:T(128)}, f32[7742]{0:T(1024)}, u8[55000,28,28]{0,2,1:T(8,128)(4,1)}) parameter(0)
  %step.2 = s32[]{:T(128)} get-tuple-element(%state.2), index=0
  ROOT %lt.93 = pred[]{:T(512)} compare(%step.2, %limit.1), direction=LT
}

ENTRY %main.61_spmd (param.1: f32[7742], param.2: u8[55000,28,28]) -> (f32[7742], bf16[16]) {
  %param.1 = f32[7742]{0:T(1024)} parameter(0)
  %param.2 = u8[55000,28,28]{0,2,1:T(8,128)(4,1)} parameter(1)
  %zero.1 = s32[]{:T(128)} constant(0)
  %begin.1 = (s32[]{:T(128)}, f32[7742]{0:T(1024)}, u8[55000,28,28]{0,2,1:T(8,128)(4,1)}) tuple(%zero.1, %param.1, %param.2)
  %while.94 = (s32[]{:T(128)}, f32[7742]{0:T(1024)}, u8[55000,28,28]{0,2,1:T(8,128)(4,1)}) while(%begin.1), condition=%more, body=%body
  %sums.2 = f32[7742]{0:T(1024)} get-tuple-element(%while.94), index=1
  %part.1 = bf16[2]{0:T(256)(128)(2,1)S(1)} convert(%sums.2), backend_config={"window_config":{"estimated_cycles":"500"}}
  %all.1 = (bf16[2]{0:T(256)(128)(2,1)S(1)}, bf16[16]{0:T(256)(128)(2,1)}) all-gather-start(%part.1), channel_id=2, dimensions={0}
  %all.2 = bf16[16]{0:T(256)(128)(2,1)} all-gather-done(%all.1)
  ROOT %result.1 = (f32[7742]{0:T(1024)}, bf16[16]{0:T(256)(128)(2,1)}) tuple(%sums.2, %all.2)
}
"""  # noqa: E501 - as the compiler writes them


@pytest.fixture(scope='module')
def recorded() -> hlo.Program:
    return hlo.parse(RECORDED)


def test_what_is_in_a_loop_counts_as_often_as_it_runs(recorded):
    runs = recorded.executions()
    # The condition's last time is not counted; it is for no byte.
    assert runs == {'main.61_spmd': 1, 'body': 128, 'more': 128, 'picked': 128}


def test_a_loop_may_say_how_often_it_runs():
    told = RECORDED.replace(
        'condition=%more, body=%body',
        'condition=%more, body=%body, '
        'backend_config={"known_trip_count":{"n":"7"},"known_init_step":{}}',
    )
    assert hlo.parse(told).executions()['body'] == 7


def test_collectives_and_their_bytes(recorded):
    assert costs.collectives(recorded) == [
        costs.Collective('all-gather', 2 * 16, 1),
        costs.Collective('all-reduce', 4 * 7742, 128),
    ]


def test_estimated_cycles_are_added_up(recorded):
    assert costs.cycles(recorded, 128) == (1824, 500)
    assert costs.cycles(recorded, 1) == (128 * 1824 + 500, 0)


def test_bytes_of_the_chips_memory(recorded):
    """By hand: what lies in VMEM, `S(1)`, is free, and of a split the batch counts."""
    tiles_of_128 = 128 * 32 * 28  # 8 examples fill up lanes of 128, 28 rows 32.
    sums = 4 * 8 * 1024
    condition = 4 + 4 + 1
    # The last is what is converted before all-gather-start, whose operand is in VMEM.
    expected = 128 * (tiles_of_128 + sums + condition) + sums
    assert costs.hbm_bytes(recorded) == expected


def test_padding_of_tiles():
    def padded(array: str) -> int:
        line = f'\nENTRY %main (x: f32[]) -> f32[] {{\n  %x = {array} parameter(0)\n}}'
        (operation,) = hlo.parse(line).computations['main']
        return operation.results[0].padded_bytes

    assert padded('f32[490,10]{0,1:T(8,128)}') == 4 * 512 * 16
    assert padded('f32[490,10]{1,0:T(8,128)S(1)}') == 4 * 496 * 128
    assert padded('f32[]{:T(128)}') == 4
    assert padded('f32[10]{0:T(128)}') == 4 * 128
    assert padded('pred[8,28,28,10]{3,0,2,1:T(8,128)(4,1)}') == 28 * 28 * 8 * 128
    assert padded('f32[3,5]') == 60
    assert padded('f64[3]{0}') == 24


@pytest.mark.parametrize('name', CHIPS)
def test_chips_are_as_jax_knows_them(name):
    """JAX's own table, of one TensorCore, made for writing kernels."""
    chip = CHIPS[name]
    version = pallas_tpu.ChipVersion(name)
    info = pallas_tpu.get_tpu_info_for_chip(version, chip.tensor_cores)
    cores = version.num_physical_tensor_cores_per_chip
    assert chip.tensor_cores == cores
    assert chip.flops == pytest.approx(cores * info.bf16_ops_per_second, rel=0.01)
    assert chip.memory == pytest.approx(cores * info.hbm_capacity_bytes, rel=0.02)
    # For v5p it has 2.46 TB/s, and Google's page 2.765.
    bandwidth = cores * info.mem_bw_bytes_per_second
    assert chip.memory_bandwidth == pytest.approx(bandwidth, rel=0.13)
    units = {'v6e': 4}.get(name, info.num_mxus)
    size = info.mxu_column_size
    assert chip.clock == pytest.approx(chip.flops / (2 * cores * units * size**2), 0.01)


def test_all_reduces_take_what_the_books_examples_say():
    """How to Scale Your Model, parts 2 and 3."""
    # "six hops between chips (0, 0) and (3, 3)", no rings; there and back.
    assert Topology.parse('v5e:4x4').all_reduce_latency == pytest.approx(12e-6)
    # Rings of 16 need 8 hops each.
    pod = Topology.parse('v5e:16x16')
    assert pod.all_reduce_latency == pytest.approx(32e-6)
    # 2 V / (bidirectional bandwidth of a link x axes).
    sent = [costs.Collective('all-reduce', 10**9, 5)]
    bound = roofline(pod, 0, 0, sent, 5)
    expected = 2e9 / (1e11 * 2)
    assert bound.communication == pytest.approx(expected * 255 / 256)
    assert bound.limit == 'communication'
    half = roofline(pod, 0, 0, [costs.Collective('all-gather', 10**9, 1)], 1)
    assert half.communication == pytest.approx(bound.communication / 2)
    # A cube of optical switches closes all of its axes, a part of it none.
    assert Topology.parse('v5p:4x4x8').all_reduce_latency == pytest.approx(16e-6)
    assert Topology.parse('v5p:2x4x8').all_reduce_latency == pytest.approx(22e-6)
    assert Topology.parse('v4:4x4x4').all_reduce_bandwidth == pytest.approx(6 * 45e9)


def test_a_roofline_is_its_highest_bound_and_what_cannot_overlap():
    slice_ = Topology.parse('v5e:2x4')
    sends = [costs.Collective('all-reduce', 4, 10)]
    bound = roofline(slice_, 197e12, 2 * 819e9, sends, 10)
    assert (bound.arithmetic, bound.memory) == (1, 2)
    assert bound.communication == pytest.approx(8e-6)
    assert bound.seconds == pytest.approx(2 + 8e-6)
    assert bound.limit == 'memory'
    alone = roofline(Topology.parse('v5e:1x1'), 1, 0, sends, 10)
    assert alone.communication == 0


@pytest.mark.parametrize(
    ('name', 'part'),
    [
        ('v9:2x2', "unknown TPU generation of --topology 'v9'; did you mean"),
        ('', "unknown TPU generation of --topology ''"),
        ('v5e', 'has no shape'),
        ('v5e:', 'has no shape'),
        ('v5e:2x', 'has no shape'),
        ('v5e:2x-4', 'has no shape'),
        ('v5e:²x²', 'has no shape'),
        ('v5e:2x4x1', 'lie along 2 axes, not 3'),
        ('v4:2x2', 'lie along 3 axes, not 2'),
        ('v5e:0x4', 'has 0 chips'),
        ('v5e:32x32', 'has 1,024 chips; slices of TPU v5e have 1 to 256'),
        ('v5p:99999x99999x99999', 'slices of TPU v5p have 1 to 6,144'),
    ],
)
def test_a_topology_that_does_not_exist_is_told(name, part):
    with pytest.raises(UserError) as caught:
        Topology.parse(name)
    assert part in str(caught.value)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('batch', [0, -8])
def test_a_batch_of_nothing_is_told(batch):
    with pytest.raises(UserError, match=f'--batch_per_core .* not {batch}'):
        ahead.compile_config(tinyvgg.get_config(), 'v5e:2x4', batch)


def test_a_batch_that_cannot_be_accumulated_is_told():
    config = tinyvgg.get_config()
    config.gradient_accumulation = 4
    assert ahead._scaled(config, 4, 8).batch_size == 32
    with pytest.raises(UserError, match='must divide the 6 examples of a core'):
        ahead.compile_config(config, 'v5e:2x2', 6)


def test_float64_is_told():
    config = tinyvgg.get_config()
    config.precision = 'float64'
    with pytest.raises(UserError, match='float64 is for checks on a CPU'):
        ahead.compile_config(config, 'v5e:2x4')


def test_a_missing_compiler_is_told(monkeypatch):
    monkeypatch.setattr(topology_lib.importlib.util, 'find_spec', lambda name: None)
    monkeypatch.delenv('TPU_LIBRARY_PATH', raising=False)
    with pytest.raises(UserError, match=r'libtpu.* pip install \.\[tpu\]'):
        ahead.compile_config(tinyvgg.get_config(), 'v5e:2x4')


def test_a_batch_of_more_than_there_is_is_told(small_config, devices):
    """640 images: on eight cores, 80 each."""
    small_config.batch_size = 81 * 8
    with pytest.raises(UserError, match='at most --batch_per_core=80'):
        ahead.make_report(small_config, Topology.parse('v5e:2x4'), devices)


def test_the_batch_is_that_of_a_core_times_the_cores():
    config = linear.get_config()
    config.batch_size = 100
    assert ahead._scaled(config, 256, None).batch_size == 13 * 256
    assert ahead._scaled(config, 8, 5).batch_size == 40
    assert config.batch_size == 100


@pytest.mark.parametrize(
    ('message', 'part'),
    [
        (
            'RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required '
            'for HLO temporaries (24.16G) exceeds available HBM (15.75G).',
            'training does not fit: needs 24.16 GiB of 15.75 GiB per core;',
        ),
        (
            'RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 31.50G of '
            '15.75G hbm. Exceeded hbm capacity by 15.75G.',
            'training does not fit: needs 31.50 GiB of 15.75 GiB per core;',
        ),
        ('RESOURCE_EXHAUSTED: some other words', 'training does not fit; give a'),
    ],
)
def test_what_does_not_fit_is_told(message, part):
    error = programs.out_of_memory('training', message)
    assert part in str(error)
    assert 'a smaller --batch_per_core' in str(error)
    # Whose batch is not that of a core times the cores.
    error = programs.out_of_memory('evaluation', message)
    assert 'a smaller --config.eval_batch_size' in str(error)
    assert error.exit_code == 5


def test_quantities():
    assert text.quantity(53_556_264, 'FLOP') == '53.6 MFLOP'
    assert text.quantity(0, 'B') == '0 B'
    assert text.quantity(8.27e-6, 's') == '8.27 µs'
    assert text.quantity(0, 's') == '0 ns'
    assert text.quantity(999_900, 'B') == '1 MB'
    assert text.quantity(9.999e-4, 's') == '1 ms'


def test_flags_are_told_without_a_traceback():
    assert_fails(
        run_script('fmnist_jax.compile', '--config=configs/tinyvgg.py'),
        '--topology is missing',
    )


@pytest.fixture(scope='module')
def compiled() -> dict:
    """What the script says of tinyvgg, the default recipe, on four cores."""
    done = run_script(
        'fmnist_jax.compile',
        '--config=configs/tinyvgg.py',
        '--topology=v5e:2x2',
        '--batch_per_core=8',
        '--json',
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_libtpu
def test_a_real_step_has_the_work_of_the_models_layers(compiled):
    """Counted from the layers, useful operations alone, by benchmarks/work.py."""
    assert compiled['fits']
    assert compiled['batch_size'] == 32
    step = compiled['training']
    model = create_model('tinyvgg', num_classes=10)
    useful = training_flops(model, (28, 28, 1))
    assert 1 <= step['flops'] / (8 * useful) < 1.03
    bound = step['roofline']['arithmetic']
    assert bound == pytest.approx(step['flops'] / 197e12)
    assert step['steps_per_call'] == 128


@needs_libtpu
def test_a_real_step_adds_everything_up_at_once(compiled):
    """All gradients, the loss and what was right: 4 bytes each."""
    expected = 4 * (compiled['num_parameters'] + 2)
    assert compiled['num_parameters'] == 7740
    assert compiled['training']['collectives'] == [
        {'name': 'all-reduce', 'bytes': expected, 'count': 1.0}
    ]
    assert compiled['evaluation']['collectives'] == []


@needs_libtpu
def test_a_real_step_holds_the_training_split(compiled):
    memory = compiled['training']['memory']
    assert memory['arguments'] > 55_000 * 28 * 28
    parts = ('arguments', 'results', 'temporaries', 'code')
    assert memory['total'] == sum(memory[part] for part in parts)
    assert memory['total'] < compiled['memory_per_core']
    validation = compiled['evaluation']
    assert validation['memory']['arguments'] > 5_000 * 28 * 28
    assert validation['examples'] == 250


@needs_libtpu
def test_arguments_are_as_large_as_the_compiler_says(small_config, devices):
    """Tiles and padding, as read from the text, against the compiler's own sum."""
    small_config.model.name = 'linear'
    slice_ = Topology.parse('v5e:2x4')
    on_tpu = programs.with_devices(build_experiment(small_config), slice_.devices())
    made = programs.compile_training(on_tpu)
    as_text = made.program.as_text()
    entry = hlo.parse(as_text)
    read = sum(
        result.padded_bytes
        for operation in entry.computations[entry.entry]
        if operation.opcode == 'parameter'
        for result in operation.results
    )
    told = made.program.memory_analysis().argument_size_in_bytes
    # Each argument begins at a multiple of 512 bytes, or so.
    assert math.isclose(read, told, rel_tol=0.02)
    assert 'fmnist_jax_' not in as_text, 'kernels for CPUs'
    assert entry.executions()[entry.entry] == 1
    assert on_tpu.steps_per_call in entry.executions().values()
    assert dataclasses.replace(on_tpu.functions, chunk=8) == on_tpu.functions


@needs_libtpu
def test_a_model_too_large_is_told(tmp_path):
    config = tmp_path / 'large.py'
    config.write_text(
        'from configs.seeds import linear\n\n\n'
        'def get_config():\n'
        '    config = linear.get_config()\n'
        '    config.model.hidden = (2_000_000,)\n'
        '    return config\n'
    )
    done = run_script(
        'fmnist_jax.compile', f'--config={config}', '--topology=v5e:1x1', '--json'
    )
    assert_fails(done, 'training does not fit: needs', '15.75 GiB', exit_code=5)
    told = json.loads(done.stdout)
    assert told['fits'] is False
    assert told['needs'] > told['has'] > 15 * 2**30
    assert told['error'] in done.stderr


@needs_libtpu
def test_a_shape_that_no_slice_has_is_told():
    with pytest.raises(UserError, match=r'v5e:3x5: .* not divisible'):
        Topology.parse('v5e:3x5').devices()


@needs_libtpu
@pytest.mark.parametrize('name', ['v4:2x2x2', 'v5p:2x2x2', 'v6e:2x4', 'v5e:1x1'])
def test_a_core_is_a_device(name):
    """Of v4 and v5p a chip, whose two TensorCores work as one."""
    slice_ = Topology.parse(name)
    devices = slice_.devices()
    assert len(devices) == slice_.num_chips
    assert {d.num_cores for d in devices} == {slice_.chip.tensor_cores}
    kind = devices[0].device_kind.replace(' lite', 'e').replace('TPU v5', 'TPU v5p')
    assert kind.replace('v5pe', 'v5e') == slice_.chip.name.split(' (')[0]
    coordinates = np.array([d.coords for d in devices]).max(0) + 1
    assert tuple(coordinates[: slice_.chip.axes]) == slice_.shape
    assert os.environ['TPU_SKIP_MDS_QUERY'] == '1'
    assert jax.default_backend() == 'cpu'
