"""Where a run's figures come from: code, versions, devices and data."""

import importlib.metadata
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from etils import epath

import fmnist_jax
from fmnist_jax import workdir as workdir_lib
from fmnist_jax.cloud.source import COMMIT
from fmnist_jax.data import Dataset
from fmnist_jax.errors import UserError
from fmnist_jax.kernels import library
from fmnist_jax.training.parallel import DeviceGroup, available_cores

# What is read again.
_KEYS = MappingProxyType(
    {
        'data': ('name', 'source', 'sha256', 'class_names', 'image_shape'),
        'devices': ('number', 'kind', 'platform'),
        'versions': ('jax',),
    }
)
_PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy')


def git_commit() -> str | None:
    """The checkout's commit, with `-dirty` if files differ; None outside of one.

    Where the code was copied to without its history, a file says it.
    """
    command = ('git', 'describe', '--always', '--dirty', '--abbrev=40', '--exclude=*')
    try:
        done = subprocess.run(
            command,
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return _copied_commit()
    return done.stdout.strip()


def _copied_commit() -> str | None:
    try:
        return (Path(fmnist_jax.__file__).parents[1] / COMMIT).read_text() or None
    except OSError:
        return None


def cpu_model() -> str:
    """The processor's name, as far as the system tells."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(':', 1)[1].strip() for line in lines if 'model name' in line]
    return names[0] if names else platform.processor()


def collect(
    dataset: Dataset, group: DeviceGroup, num_parameters: int
) -> dict[str, Any]:
    """All of it, as plain data.

    Args:
      dataset: trained on.
      group: the devices.
      num_parameters: of the model.
    """
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {
        'git_commit': git_commit(),
        'versions': {
            'fmnist_jax': fmnist_jax.__version__,
            'python': platform.python_version(),
            **versions,
        },
        'platform': platform.platform(),
        'host': {'cpu': cpu_model(), 'cores': available_cores()},
        'devices': {
            'number': len(group),
            'platform': group.devices[0].platform,
            'kind': group.devices[0].device_kind,
            'kernels': group.is_cpu and library.are_available(),
        },
        'model': {'num_parameters': num_parameters},
        'data': {
            'name': dataset.name,
            'source': dataset.source,
            'sha256': dataset.sha256,
            'image_shape': dataset.image_shape,
            'class_names': dataset.class_names,
        },
    }


def read(
    workdir: epath.Path, needed: Mapping[str, Sequence[str]] = _KEYS
) -> dict[str, Any]:
    """What `collect` said when a run was started.

    Args:
      workdir: of the run.
      needed: for each part the keys that must be there.

    Raises:
      UserError: the file is missing, damaged, or of an earlier version.
    """
    path = workdir / workdir_lib.PROVENANCE
    values = workdir_lib.read_json_object(path)
    for part, keys in needed.items():
        held = values.get(part)
        for key in keys:
            if not isinstance(held, dict) or key not in held:
                raise UserError(
                    f'{path} does not say {part}.{key}: it is damaged, or of an '
                    'earlier version; train the run again'
                )
    return values


def read_data_description(workdir: epath.Path) -> dict[str, Any]:
    """What a model must know of the data it was trained on.

    Returns:
      `class_names`, one a label, and `image_shape`: height, width, channels.

    Raises:
      UserError: the work folder does not say.
    """
    keys = ('class_names', 'image_shape')
    data = read(workdir, {'data': keys})['data']
    for key in keys:
        if not isinstance(data[key], list):
            raise UserError(
                f'{workdir / workdir_lib.PROVENANCE} is damaged: data.{key} is no list'
            )
    return {key: tuple(data[key]) for key in keys}


def check_data(dataset: Dataset, workdir: epath.Path) -> None:
    """Compares the data with those that the run in a work folder was trained on.

    Raises:
      UserError: they differ.
    """
    if not (workdir / workdir_lib.PROVENANCE).exists():
        return
    before = read(workdir, {'data': ('sha256',)})['data']['sha256']
    if not isinstance(before, dict):
        raise UserError(
            f'{workdir / workdir_lib.PROVENANCE} is damaged: data.sha256 is no object'
        )
    changed = [key for key, value in dataset.sha256.items() if before.get(key) != value]
    if changed:
        raise UserError(
            f'{workdir} holds a run on other data: the SHA-256 of '
            f'{", ".join(changed)} differs. Choose another --workdir, or the same data'
        )
