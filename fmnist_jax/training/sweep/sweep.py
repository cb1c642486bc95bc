"""A sweep: a grid of configs and seeds in, a trained run in a work folder each out.

Members that share a compiled step and stand at the same one are a family; `mapping`
has the ways to train one, `choose_mapping` finds the fastest, `jobs` trains runs from
where they stand, and `status` keeps what became of each.
"""

import contextlib
import json
from collections.abc import Sequence

import jax
from etils import epath
from ml_collections import ConfigDict

from fmnist_jax import config as config_lib
from fmnist_jax import locking
from fmnist_jax import workdir as workdir_lib
from fmnist_jax.data import Dataset, load_dataset
from fmnist_jax.errors import DivergenceError, UserError
from fmnist_jax.grid import Member, make_members, parse_grid
from fmnist_jax.reporting.console import log
from fmnist_jax.reporting.sweep.finish import finish
from fmnist_jax.reporting.sweep.outcomes import Outcome
from fmnist_jax.stopping import StopSignals
from fmnist_jax.training import checks, hyperparameters, parallel, provenance
from fmnist_jax.training.build import build_experiment, with_numbers_of
from fmnist_jax.training.configure import configure_jax
from fmnist_jax.training.experiment import Experiment
from fmnist_jax.training.selection import selects_on_test
from fmnist_jax.training.start import check_config
from fmnist_jax.training.sweep.choose_mapping import choose_mapping
from fmnist_jax.training.sweep.jobs import Job
from fmnist_jax.training.sweep.mapping import MAPPINGS
from fmnist_jax.training.sweep.status import Standing, SweepStatus
from fmnist_jax.training.transfer import find_origin


def sweep(
    config: ConfigDict,
    grid_texts: Sequence[str],
    num_seeds: int,
    workdir: epath.PathLike,
    mapping: str = 'auto',
    *,
    stop: StopSignals | None = None,
) -> list[Outcome]:
    """Trains every member of a grid; finished ones of an earlier call are kept.

    Args:
      config: what the members have in common.
      grid_texts: `FIELD=VALUE,VALUE…` each.
      num_seeds: how many of each, from the config's seed on.
      workdir: the folder for the members' work folders.
      mapping: how members that differ only in numbers share the devices: one of
        `mapping.MAPPINGS`, or `auto` for whichever is measured to be the fastest.
      stop: entered; what may stop it.

    Returns:
      What became of each member.

    Raises:
      UserError: the grid, the config, the data or a work folder are not what they
        should be; nothing has been trained.
      DivergenceError: every run has diverged.
      Stopped: a signal came; the same call goes on from there.
    """
    axes = parse_grid(grid_texts, config)
    members = make_members(config, axes, num_seeds, _check)
    folder = workdir_lib.locate(workdir)
    workdir_lib.check(folder)
    if (folder / workdir_lib.CONFIG).exists():
        raise UserError(
            f'{folder} is the work folder of a single run; choose another --workdir '
            'for the sweep'
        )
    _configure(members)
    experiments = _build(members)
    notes = {selects_on_test(e.config.data, e.dataset) for e in experiments}
    for note in sorted(notes - {None}):
        log(note)
    with locking.hold(folder):
        for member, experiment in zip(members, experiments, strict=True):
            check_config(member.config, folder / member.name)
            provenance.check_data(experiment.dataset, folder / member.name)
        outcomes = _train(SweepStatus(folder, members, experiments), mapping, stop)
    finish(folder, axes, outcomes, log)
    if all(outcome.status == 'diverged' for outcome in outcomes):
        raise DivergenceError(
            f'all {len(members)} runs have diverged; try lower learning rates'
        )
    return outcomes


def _train(
    status: SweepStatus, mapping: str, stop: StopSignals | None
) -> list[Outcome]:
    """Trains those that have not finished."""
    pending = status.pending()
    families = _families(pending)
    log(
        f'{len(status.outcomes)} runs, {len(pending)} of them to train, in '
        f'{len(families)} families that share a compiled step; work folder: '
        f'{status.folder}'
    )
    try:
        for family in families:
            _train_family(family, mapping, status, stop)
    finally:
        status.close()
    return status.outcomes


def _families(pending: Sequence[Standing]) -> list[list[Standing]]:
    """Members that share a compiled step, a length and the step they stand at."""
    families: dict[tuple, list[Standing]] = {}
    for standing in pending:
        config = standing.member.config
        key = (_step_key(config), config.num_epochs, standing.step)
        families.setdefault(key, []).append(standing)
    return list(families.values())


def _check(config: ConfigDict) -> None:
    """What needs no data, told with the member's name."""
    config_lib.validate(config)
    checks.check_names(config)


def _configure(members: Sequence[Member]) -> None:
    configs = [member.config for member in members]
    if len({config.precision == 'float64' for config in configs}) > 1:
        raise UserError(
            'a grid over precision cannot hold float64 besides others: JAX computes in '
            'it by a switch for the whole process; sweep over it apart'
        )
    common = configs[0].copy_and_resolve_references()
    if common.num_cpu_devices is None:
        # Each member takes the largest number of them that divides its batch.
        common.num_cpu_devices = parallel.available_cores()
    configure_jax(common)


def _build(members: Sequence[Member]) -> list[Experiment]:
    """Each member's experiment, all of which are checked; those alike share a step."""
    loaded: dict[str, Dataset] = {}
    built: dict[str, Experiment] = {}
    experiments = []
    for member in members:
        config = member.config
        data = json.dumps(config_lib.to_dict(config.data), sort_keys=True)
        if data not in loaded:
            loaded[data] = load_dataset(config.data, log)
        step = _step_key(config)
        try:
            if step not in built:
                built[step] = build_experiment(config, dataset=loaded[data])
            experiments.append(with_numbers_of(built[step], config))
            if config.init_from is not None:
                find_origin(config.init_from, log)
        except UserError as error:
            raise UserError(f'{error} (member {member.name})') from error
    return experiments


def _step_key(config: ConfigDict) -> str:
    """What a compiled step depends on: all fields but numbers."""
    fields = config_lib.flatten(config_lib.to_dict(config))
    for field in hyperparameters.FIELDS:
        value = fields.pop(field, None)
        if field in hyperparameters.OPTIONAL:
            fields[field] = value is not None
    # Of a model's rates, their values are numbers, and how many there are is not.
    rates = config.model.get('dropout_rate')
    fields['model.dropout_rate'] = str(jax.tree.structure(rates))
    return json.dumps(fields, sort_keys=True)


def _train_family(
    family: Sequence[Standing],
    mapping: str,
    status: SweepStatus,
    stop: StopSignals | None,
) -> None:
    """Trains members that share a compiled step and stand at the same one."""
    experiment = family[0].experiment
    configs = [standing.member.config for standing in family]
    if mapping == 'auto':
        num_steps = sum(standing.steps_left for standing in family)
        chosen = choose_mapping(experiment, configs, num_steps, log)
    else:
        chosen = MAPPINGS[mapping](experiment, configs)
    jobs = [Job(s.member.config, status.folder / s.member.name) for s in family]
    with stop.deferred() if stop else contextlib.nullcontext():
        should_stop = stop.is_set if stop else lambda: False
        chosen.train(jobs, status.listener(), should_stop)
