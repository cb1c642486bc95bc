"""Compiles a config for a slice of a Cloud TPU, and says what came out."""

import functools
import importlib.metadata
import json
import sys
from collections.abc import Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from fmnist_jax import config as config_lib
from fmnist_jax.data import load_dataset
from fmnist_jax.errors import UserError
from fmnist_jax.training import checks, parallel
from fmnist_jax.training.ahead_of_time.measure import measure
from fmnist_jax.training.ahead_of_time.programs import (
    DoesNotFitError,
    compile_evaluation,
    compile_training,
    with_devices,
)
from fmnist_jax.training.ahead_of_time.text import to_text
from fmnist_jax.training.ahead_of_time.topology import Topology
from fmnist_jax.training.build import build_experiment, steps_of
from fmnist_jax.training.configure import configure_jax
from fmnist_jax.training.experiment import Experiment
from fmnist_jax.training.state import num_parameters

# Cores that the config's batch is shared by where nothing else is said: a host of v5e.
_CORES_OF_BATCH = 8


def compile_config(
    config: ConfigDict,
    topology_name: str,
    batch_per_core: int | None = None,
    *,
    as_json: bool = False,
) -> None:
    """Compiles the steps of a config and prints what they need.

    Args:
      config: see configs/default.py.
      topology_name: such as `v5e:2x4`.
      batch_per_core: examples a core, so that a batch has as many times as there are
        cores; None for an eighth of the config's batch, rounded up.
      as_json: print JSON, and nothing else.

    Raises:
      UserError: the config, the data, the topology or the batch are not what they
        should be; libtpu is missing.
      DoesNotFitError: a step needs more memory than a core has; told in the JSON, too.
    """
    topology = Topology.parse(topology_name)
    config_lib.validate(config)
    checks.check_names(config)
    if config.precision == 'float64':
        raise UserError(
            'precision float64 is for checks on a CPU, a TPU computes in float32 and '
            'bfloat16; set --config.precision to one of these'
        )
    config = _scaled(config, topology.num_chips, batch_per_core)
    # An accelerator of this machine may be at work.
    jax.config.update('jax_platforms', 'cpu')
    devices = topology.devices()
    configure_jax(config)
    # What is compiled for devices that are not there cannot be read back.
    jax.config.update('jax_enable_compilation_cache', False)
    report, error = make_report(config, topology, devices)
    if as_json:
        print(json.dumps(report, indent=2, allow_nan=False))
    else:
        print(to_text(report), end='')
    if error:
        raise error


def _scaled(config: ConfigDict, cores: int, batch_per_core: int | None) -> ConfigDict:
    """The config with so many examples a core."""
    if batch_per_core is None:
        batch_per_core = -(-config.batch_size // _CORES_OF_BATCH)
    if batch_per_core < 1:
        raise UserError(f'--batch_per_core must be at least 1, not {batch_per_core}')
    if batch_per_core % config.gradient_accumulation:
        raise UserError(
            f'gradient_accumulation {config.gradient_accumulation} must divide the '
            f'{batch_per_core} examples of a core evenly; give another --batch_per_core'
        )
    scaled = config.copy_and_resolve_references()
    scaled.batch_size = batch_per_core * cores
    scaled.num_cpu_devices = 1
    return scaled


def make_report(
    config: ConfigDict, topology: Topology, devices: Sequence[jax.Device]
) -> tuple[dict[str, Any], DoesNotFitError | None]:
    """Compiles, and tells of it as plain data.

    Args:
      config: valid, its batch divides evenly over the devices.
      topology: the slice.
      devices: of the topology.

    Returns:
      What is compiled for what by which versions, `fits`, and of `training` and
      `evaluation` what `measure` says, as far as they fit; and what does not.

    Raises:
      UserError: the config or the data are not what they should be.
    """
    on_cpu = _build(config, len(devices))
    on_tpu = with_devices(on_cpu, list(devices))
    chip = topology.chip
    report = {
        'model': config.model.name,
        'num_parameters': num_parameters(on_tpu.abstract_state().params),
        'precision': config.precision,
        'optimizer': config.optimizer.name,
        'num_train': on_tpu.num_train,
        'topology': topology.name,
        'chip': chip.name,
        'cores': len(devices),
        'tensor_cores': topology.num_chips * chip.tensor_cores,
        'memory_per_core': chip.memory,
        'batch_per_core': config.batch_size // len(devices),
        'batch_size': config.batch_size,
        'versions': {'jax': jax.__version__, 'libtpu': _libtpu_version()},
        'fits': True,
    }
    try:
        report['training'] = measure(compile_training(on_tpu), topology)
        report['evaluation'] = measure(compile_evaluation(on_tpu), topology)
    except DoesNotFitError as error:
        report |= {'fits': False, 'needs': error.needs, 'has': error.has}
        return report | {'error': str(error)}, error
    return report, None


def _build(config: ConfigDict, cores: int) -> Experiment:
    log = functools.partial(print, file=sys.stderr)
    dataset = load_dataset(config.data, log)
    if steps_of(config, dataset) == 0:
        examples = dataset.num_examples(config.data.train_split)
        examples *= 1 + config.augmented_copies
        most = examples // cores
        hint = f'at most --batch_per_core={most}' if most else 'fewer cores'
        raise UserError(
            f'{config.batch_size // cores:,} examples on each of {cores:,} cores are '
            f'more than the {examples:,} of data.train_split; {hint}'
        )
    group = parallel.DeviceGroup(jax.local_devices()[:1])
    return build_experiment(config, group, log, dataset)


def _libtpu_version() -> str | None:
    try:
        return importlib.metadata.version('libtpu')
    except importlib.metadata.PackageNotFoundError:
        return None
