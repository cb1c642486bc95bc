"""Devices: which are used, and how one per-device step is mapped over them.

The only module that knows `pmap`; since JAX 0.8 it is built on `jit` and `shard_map`.
"""

import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, PyTree

from fmnist_jax.errors import UserError

AXIS = 'batch'


def available_cores() -> int:
    """The CPU cores this process may use, by affinity and by its cgroup's quota."""
    cores = os.cpu_count() or 1
    if hasattr(os, 'sched_getaffinity'):  # Not on macOS.
        cores = len(os.sched_getaffinity(0))
    quota = _cgroup_quota()
    return max(1, min(cores, math.floor(quota))) if quota else cores


def _cgroup_quota() -> float | None:
    """Cores granted by cgroup v2 or v1; None if there is no limit."""
    try:
        with open('/sys/fs/cgroup/cpu.max') as file:
            quota, period = file.read().split()
        return None if quota == 'max' else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    try:
        with open('/sys/fs/cgroup/cpu/cpu.cfs_quota_us') as file:
            quota = int(file.read())
        with open('/sys/fs/cgroup/cpu/cpu.cfs_period_us') as file:
            period = int(file.read())
        return None if quota <= 0 else quota / period
    except (OSError, ValueError):
        return None


def largest_divisor(number: int, limit: int) -> int:
    """The largest divisor of `number` that is at most `limit`."""
    return next(d for d in range(min(number, limit), 0, -1) if number % d == 0)


def configure_cpu_devices(num_devices: int | None, batch_size: int) -> None:
    """Sets how many virtual CPU devices JAX makes; call before JAX uses a device.

    Args:
      num_devices: how many; None for the largest divisor of `batch_size` within the
        cores that this process may use, or for one where it is one of several.
      batch_size: the global batch size.

    Raises:
      UserError: JAX has devices already, another number of them.
    """
    if num_devices is None:
        is_alone = not jax.distributed.is_initialized()
        num_devices = largest_divisor(batch_size, available_cores()) if is_alone else 1
    try:
        jax.config.update('jax_num_cpu_devices', num_devices)
    except RuntimeError as error:
        raise UserError(
            f'JAX has been used in this process with {jax.device_count()} devices, so '
            f'that it cannot have {num_devices}; restart it, or set num_cpu_devices'
        ) from error
    # Threads of XLA's pool: a device that waits for the others takes up one. With more
    # than there are cores, a device's work moves from thread to thread and takes half
    # as long again (results/speed.md).
    threads = max(available_cores(), num_devices)
    set_by_user = os.environ.get('NPROC', '')
    if not (set_by_user.isdigit() and int(set_by_user) >= num_devices):
        os.environ['NPROC'] = str(threads)


def jit_once(function: Callable, **kwargs: Any) -> Callable:
    """`jax.jit` for a function that runs once or once an epoch.

    On a CPU it is compiled without LLVM's optimisation: drawing the weights of tinyvgg
    then takes 0.7 s to compile instead of 6.3 s (JAX 0.10.2), and milliseconds to run.
    """
    if jax.default_backend() == 'cpu':
        kwargs['compiler_options'] = {'xla_backend_optimization_level': 0}
    return jax.jit(function, **kwargs)


class DeviceGroup:
    """The devices that share each batch evenly: this process's, or those of several.

    Attributes:
      devices: in the order in which they take their slices of a batch.
    """

    def __init__(self, devices: Sequence[jax.Device]):
        self.devices = tuple(devices)
        mesh = Mesh(np.array(self.devices), (AXIS,))
        self._replicated = NamedSharding(mesh, PartitionSpec())
        self._sharded = NamedSharding(mesh, PartitionSpec(AXIS))

    def __len__(self) -> int:
        return len(self.devices)

    @classmethod
    def for_batch(cls, batch_size: int, num_parts: int = 1) -> 'DeviceGroup':
        """As many devices as divide a batch's parts; of several processes, all.

        Args:
          batch_size: the global batch size.
          num_parts: that it is worked on in; divides it.

        Raises:
          UserError: all the devices of several processes do not divide it.
        """
        devices = jax.devices()
        multiple = num_parts * len(devices)
        if jax.process_count() > 1 and batch_size % multiple:
            below = batch_size - batch_size % multiple
            sizes = [x for x in (below, below + multiple) if x]
            of_parts = f', in {num_parts} parts,' if num_parts > 1 else ''
            raise UserError(
                f'batch_size {batch_size}{of_parts} does not divide evenly over the '
                f'{len(devices)} devices of {jax.process_count()} processes; the '
                f'nearest that does is {" or ".join(map(str, sizes))}'
            )
        part_size = batch_size // num_parts
        return cls(devices[: largest_divisor(part_size, len(devices))])

    @property
    def is_cpu(self) -> bool:
        """Whether they are a CPU's."""
        return self.devices[0].platform == 'cpu'

    def describe(self) -> str:
        """Says which devices are used, and how many are left idle."""
        first = self.devices[0]
        text = f'{len(self)} x {first.device_kind} ({first.platform})'
        if jax.process_count() > 1:
            return f'{text} of {jax.process_count()} processes'
        idle = jax.local_device_count() - len(self)
        return text + (f', {idle} idle: they do not divide the batch' if idle else '')

    def replicate(self, tree: PyTree) -> PyTree:
        """Places every array whole on every device.

        Arrays are placed once: mapped functions take unplaced ones at several times
        the cost a call.
        """
        return _place(tree, self._replicated)

    def split_batches(self, order: Array | np.ndarray) -> Array | np.ndarray:
        """Each device's slice of each batch, to be spread over the devices.

        Args:
          order: [steps, batch].

        Returns:
          [devices, steps, batch / devices].
        """
        steps, batch = order.shape
        return order.reshape(steps, len(self), batch // len(self)).swapaxes(0, 1)

    def shard_batches(self, order: Array | np.ndarray) -> Array:
        """`split_batches`, spread over the devices."""
        return self.shard(self.split_batches(order))

    def shard(self, array: Any) -> Array:
        """Spreads an array's first dimension over the devices."""
        return _place(array, self._sharded)

    def gather(self, array: Array) -> np.ndarray:
        """An array that is spread over the devices, whole on the host of each."""
        if self._sharded.is_fully_addressable:
            return np.asarray(array)
        return multihost_utils.process_allgather(array, tiled=True)

    def abstract(self, tree: PyTree) -> PyTree:
        """Shapes, dtypes and placements of `tree` when it is replicated."""
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=self._replicated),
            tree,
        )

    def map(
        self,
        function: Callable,
        *,
        num_replicated: int,
        out_axes: Any = None,
        donate_argnums: tuple[int, ...] = (),
    ) -> Callable:
        """Maps a per-device function over the devices.

        Args:
          function: takes `num_replicated` replicated arguments and then one argument
            whose first dimension is over the devices; may use `AXIS`.
          num_replicated: how many leading arguments are the same on every device.
          out_axes: None for what is the same on every device, 0 for what differs.
          donate_argnums: arguments whose memory the results may take.
        """
        return jax.pmap(
            function,
            axis_name=AXIS,
            in_axes=(None,) * num_replicated + (0,),
            out_axes=out_axes,
            devices=self.devices,
            donate_argnums=donate_argnums,
        )


def _place(tree: PyTree, sharding: NamedSharding) -> PyTree:
    """Arrays of the host, the same in all processes, on their devices."""
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def place(array: Any) -> Array:
        # Each process places its own part; `device_put` would compare the whole first.
        host = np.asarray(array)
        return jax.make_array_from_callback(host.shape, sharding, lambda x: host[x])

    return jax.tree.map(place, tree)


def sum_over_devices(tree: PyTree[Float[Array, '...']]) -> PyTree:
    """Adds up over the devices in one collective; call inside a mapped function.

    One collective of everything, not one an array: fewer meetings of the devices, and
    a bound on the threads that wait in them on a CPU.
    """
    flat, unravel = ravel_pytree(tree)
    return unravel(jax.lax.psum(flat, AXIS))
