"""Trains the rows of five projects: python -m results.reproduction --workdir=FOLDER

For each row of `results/reproduction/recipes/`, or those named, trains its seeds in
`FOLDER/ROW` and scores them as the row needs it, one process after another: the first
seed of all rows, then the second. Small files are kept in
`results/runs/reproduction/ROW/seedN`; see `results/runner.py` for what is kept, and
what is gone on with. `--list` says what is kept and what is missing.
"""

import functools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fmnist_jax.reporting.console import table
from fmnist_jax.reporting.runs import Run
from fmnist_jax.reporting.units import duration
from results import keep, program, runner
from results.reproduction.recipes import RECIPES
from results.reproduction.recipes.recipe import LR_RANGE_TEST_EPOCHS, Recipe
from results.reproduction.runs import kept_folder, read_recipe, select
from results.runner import Command, Job

# S1's 1e-4 * 10**(epoch / 20), its first epoch being 0.
LR_RANGE_TEST = (
    '--per=epoch',
    '--min=1e-4',
    f'--max={1e-4 * 10 ** ((LR_RANGE_TEST_EPOCHS - 1) / 20)!r}',
    f'--duration={LR_RANGE_TEST_EPOCHS} epochs',
)


def main() -> None:
    """Runs, or lists, as the arguments say."""
    program.main(
        program.Program(
            'results.reproduction', __doc__.splitlines()[0], find, summary, run
        )
    )


def find(names: Sequence[str]) -> list[Recipe]:
    """The recipes of these names, all that are run if there are none.

    Raises:
      UserError: a name is not that of a recipe.
    """
    if names:
        return program.find(names, RECIPES)
    return [recipe for recipe in RECIPES if not recipe.not_run]


def summary(recipes: Sequence[Recipe], runs: Path) -> str:
    """A table of what is kept of each recipe, and what is missing."""
    rows = []
    for recipe in recipes:
        kept = read_recipe(runs, recipe)
        seconds = [one.run.seconds for one in kept if one.run]
        missing = [
            str(seed)
            for seed in range(recipe.num_seeds)
            if not kept_folder(runs, recipe, seed).exists()
        ]
        fastest = duration(min(seconds)) if seconds else ''
        number = f'{len(kept)} of {recipe.num_seeds}'
        rows.append((recipe.name, recipe.project, number, ' '.join(missing), fastest))
    return table(rows, ('row', 'project', 'kept', 'missing seeds', 'fastest'))


def run(
    recipes: Sequence[Recipe], workdir: Path, runs: Path, *, allow_dirty: bool = False
) -> list[str]:
    """Runs what is not kept.

    Args:
      recipes: the rows.
      workdir: for their work folders and data.
      runs: `results/runs`, or another folder to keep small files in.
      allow_dirty: as of `runner.run`.

    Returns:
      The runs that are not done, `ROW/seedN`; the others went on.
    """
    jobs = [
        _job(recipe, seed, workdir, runs)
        for seed in range(max(recipe.num_seeds for recipe in recipes))
        for recipe in recipes
        if seed < recipe.num_seeds
    ]
    return runner.run(jobs, allow_dirty=allow_dirty)


def _job(recipe: Recipe, seed: int, workdir: Path, runs: Path) -> Job:
    folder = workdir / recipe.name / f'seed{seed}'
    return Job(
        name=f'{recipe.name}/seed{seed}',
        folder=folder,
        kept=kept_folder(runs, recipe, seed),
        work=functools.partial(_work, recipe, seed, folder, workdir / 'data'),
    )


def _work(
    recipe: Recipe,
    seed: int,
    folder: Path,
    data: Path,
    call: Callable[..., None],
) -> None:
    """Runs all that a row needs of a seed; what is done already takes seconds."""
    _prepare(recipe.order, data, call)
    for command in commands(recipe, seed, folder, data):
        call(command)
    if recipe.order:
        content = (data / recipe.order / keep.AUGMENTATION).read_bytes()
        (folder / keep.AUGMENTATION).write_bytes(content)


def _prepare(order: str | None, data: Path, call: Callable[..., None]) -> None:
    """Alters images, if a recipe needs them and they are not there."""
    if order is None:
        return
    # Others that train in the same folder need them, too.
    with runner.locked(data, waits=True) as lock:
        if _is_whole(data / order):
            return
        call(
            (
                'fmnist_jax.augment_data',
                '--config=configs/seeds/keras_cnns.py:data',
                f'--order={order}',
                f'--output={data / order}',
            ),
            lock,
        )


def _is_whole(folder: Path) -> bool:
    path = folder / keep.AUGMENTATION
    return path.exists() and json.loads(path.read_text())['complete']


def commands(recipe: Recipe, seed: int, folder: Path, data: Path) -> Iterator[Command]:
    """The commands of a run, each when those before it are done.

    Args:
      recipe: the row.
      seed: of the run.
      folder: its work folder, in which later commands find what earlier ones left.
      data: where altered images are.

    Yields:
      A module and its arguments.
    """
    overrides = {**recipe.overrides, 'seed': seed}
    if recipe.order:
        overrides['data.idx_dir'] = runner.shown(data / recipe.order)
    path, colon, variant = recipe.config.partition(':')
    arguments = (
        f'--config=configs/seeds/{path}.py{colon}{variant}',
        *(f'--config.{field}={value}' for field, value in overrides.items()),
        f'--workdir={folder}',
    )
    if recipe.script == 'lr_range_test':
        yield ('fmnist_jax.lr_range_test', *LR_RANGE_TEST, *arguments)
        return
    yield ('fmnist_jax.main', *arguments)
    if recipe.evaluated_at:
        line = select(Run.read(folder).lines('validation'), recipe.evaluated_at)
        checkpoint = f'--checkpoint={line["step"]}'
        yield ('fmnist_jax.evaluate', f'--workdir={folder}', checkpoint)
    if recipe.has_batch_statistics:
        yield ('results.reproduction.batch_statistics', str(folder))
