"""What a run goes on from: its work folder, another run's weights, or nothing."""

import dataclasses
from collections.abc import Callable
from typing import Any

from etils import epath
from ml_collections import ConfigDict

from fmnist_jax import config as config_lib
from fmnist_jax import workdir as workdir_lib
from fmnist_jax.errors import UserError
from fmnist_jax.training import hosts, provenance
from fmnist_jax.training.checkpoint_folder import Checkpoints
from fmnist_jax.training.experiment import Experiment
from fmnist_jax.training.record import Record
from fmnist_jax.training.schedules import OPEN_ENDED
from fmnist_jax.training.selection import INIT_FROM, TEACHERS, describe_origin
from fmnist_jax.training.state import TrainState, num_parameters
from fmnist_jax.training.teachers import check_teachers, describe_teachers
from fmnist_jax.training.transfer import start_from


@dataclasses.dataclass(frozen=True)
class Start:
    """What a run goes on from.

    Attributes:
      state: on the host.
      record: of what was trained before, in this work folder.
      origin: what provenance says of where the state comes from.
    """

    state: TrainState
    record: Record
    origin: dict[str, Any]


def check_config(config: ConfigDict, folder: epath.Path) -> None:
    """Refuses a work folder that holds a run of another config, or a sweep.

    Raises:
      UserError: it does, or its config is damaged.
    """
    if (folder / workdir_lib.SWEEP).exists():
        raise UserError(
            f'{folder} holds the runs of a sweep; choose another --workdir, or one of '
            'the folders in it'
        )
    path = folder / workdir_lib.CONFIG
    if not path.exists():
        return
    changed = config_lib.changed_fields(
        workdir_lib.read_json(path),
        config_lib.to_dict(config),
        may_extend=config.optimizer.schedule in OPEN_ENDED,
    )
    if changed:
        raise UserError(
            f'{folder} holds a run of another config: {"; ".join(changed)}. Choose '
            'another --workdir, or the same config'
        )


def find_start(
    experiment: Experiment, checkpoints: Checkpoints, log: Callable[[str], None]
) -> Start:
    """The latest whole checkpoint, another run's weights, or a new state.

    Of several processes, the first finds it, and gives it to all.

    Raises:
      UserError: the checkpoint, or the run that `init_from` names, does not fit; or the
        checkpoints are damaged.
    """
    drawn = experiment.draw_state()
    state = drawn

    def find() -> tuple[dict[str, Any], dict[str, Any]]:
        nonlocal state
        found = _find(experiment, drawn, checkpoints, log)
        state = found.state
        return dataclasses.asdict(found.record), found.origin

    record, origin = hosts.from_first(find)
    return Start(hosts.arrays_from_first(state), Record(**record), origin)


def _find(
    experiment: Experiment,
    drawn: TrainState,
    checkpoints: Checkpoints,
    log: Callable[[str], None],
) -> Start:
    teachers = experiment.config.distillation.teachers
    step = checkpoints.latest(log)
    if step is not None:
        state, record = checkpoints.restore(step, experiment.abstract_state())
        check_teachers(checkpoints.folder.parent, teachers, experiment.teachers)
        log(f'resumed from {checkpoints.folder / str(step)}')
        return Start(state, record, {})
    if checkpoints.steps():
        log('no checkpoint was finished: training starts anew')
    origin = {}
    if teachers:
        origin[TEACHERS] = describe_teachers(teachers, experiment.teachers)
    init_from = experiment.config.init_from
    if init_from is None:
        return Start(drawn, Record(), origin)
    state, step = start_from(drawn, init_from, log)
    folder = workdir_lib.locate(init_from)
    origin[INIT_FROM] = describe_origin(folder, step)
    return Start(state, Record(), origin)


def write_start(
    experiment: Experiment,
    folder: epath.Path,
    start: Start,
    log: Callable[[str], None],
) -> None:
    """Writes what is known before training."""
    step, size = int(start.state.step), num_parameters(start.state.params)
    config = config_lib.to_dict(experiment.config)
    workdir_lib.write_json(folder / workdir_lib.CONFIG, config)
    path = folder / workdir_lib.PROVENANCE
    now = provenance.collect(experiment.dataset, experiment.group, size) | start.origin
    resumed = workdir_lib.read_json(path) if path.exists() and step else now
    if step:
        if resumed['devices'] != now['devices']:
            log('the devices are others than before: results will differ by rounding')
        entry = {k: now[k] for k in ('git_commit', 'versions', 'devices')}
        resumed.setdefault('resumed', []).append({'step': step, **entry})
    workdir_lib.write_json(path, resumed)
