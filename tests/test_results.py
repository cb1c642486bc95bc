"""Tables and claims are what the committed runs make them."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from configs import tinyvgg
from fmnist_jax import config as config_lib
from fmnist_jax import workdir as workdir_lib
from fmnist_jax.errors import UserError
from results import keep, run_tables, tables
from tests.conftest import ROOT

RUNS = ROOT / 'results' / 'runs'
RUN_FOLDERS = sorted(
    path.parent
    for path in RUNS.rglob('config.json')
    # One that is being copied.
    if not path.parent.name.startswith('.')
)
FILES = tables.files(ROOT)


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_page_is_what_the_runs_make_it(path):
    assert tables.render(path.read_text(), RUNS) == path.read_text()


def test_there_are_pages_with_tables_and_claims():
    texts = {path.relative_to(ROOT).as_posix(): path.read_text() for path in FILES}
    assert '<!-- table: seeds tinyvgg -->' in texts['results/README.md']
    assert '<!-- table: trials ' in texts['results/README.md']
    assert 'Measured (results/runs/tinyvgg):' in texts['configs/tinyvgg.py']


def test_the_headline_follows_from_the_confusion_matrices():
    """Means and standard deviations by NumPy, from what evaluation counted."""
    accuracies = []
    for path in sorted((RUNS / 'tinyvgg').glob('*/eval/test/metrics.json')):
        matrix = np.array(json.loads(path.read_text())['confusion_matrix'])
        assert matrix.sum() == 10_000
        accuracies.append(100 * np.trace(matrix) / 10_000)
    assert len(accuracies) == 5
    text = f'{np.mean(accuracies):.2f} ± {np.std(accuracies, ddof=1):.2f} %'
    for name in ('README.md', 'results/README.md', 'configs/tinyvgg.py'):
        assert text in (ROOT / name).read_text(), name


@pytest.mark.parametrize('folder', RUN_FOLDERS, ids=lambda p: str(p.relative_to(RUNS)))
def test_a_kept_run_is_whole(folder):
    lines = [json.loads(x) for x in (folder / 'metrics.jsonl').read_text().splitlines()]
    config = json.loads((folder / 'config.json').read_text())
    epochs = [x['epoch'] for x in lines if x['split'] == 'validation']
    last = config['num_epochs']
    if (folder / workdir_lib.DIVERGENCE).exists():
        message = json.loads((folder / workdir_lib.DIVERGENCE).read_text())['message']
        last = int(re.search(r'\(epoch (\d+)\)', message)[1]) - 1
    assert epochs == list(range(1, last + 1))
    provenance = json.loads((folder / 'provenance.json').read_text())
    for start in (provenance, *provenance.get('resumed', ())):
        assert re.fullmatch('[0-9a-f]{40}', start['git_commit'])


def test_the_headline_is_of_the_recipe_that_the_config_holds():
    """The kept runs are those of configs/tinyvgg.py as it stands, but for the seed."""
    recipe = config_lib.to_dict(tinyvgg.get_config())
    seeds = set()
    for run in run_tables.read_group(RUNS, 'tinyvgg'):
        kept = json.loads((RUNS / 'tinyvgg' / run.name / 'config.json').read_text())
        changed = config_lib.changed_fields(kept, recipe, may_extend=False)
        assert all(field.startswith('seed ') for field in changed), changed
        seeds.add(kept['seed'])
        assert run.evaluations['test']['checkpoint_step'] == run.best['step']
    assert seeds == {0, 1, 2, 3, 4}


def test_another_figure_makes_another_table(tmp_path):
    runs = tmp_path / 'runs'
    shutil.copytree(RUNS / 'tinyvgg', runs / 'tinyvgg')
    page = (ROOT / 'results' / 'README.md').read_text()
    page = page[page.index('<!-- table: seeds tinyvgg') :]
    page = page[: page.index('<!-- end of table -->') + 21]
    assert tables.render(page, runs) == page
    path = next((runs / 'tinyvgg').glob('*/eval/test/metrics.json'))
    metrics = json.loads(path.read_text())
    metrics['accuracy'] = 0.5
    path.write_text(json.dumps(metrics))
    changed = tables.render(page, runs)
    assert changed != page
    assert '| 50.00 % |' in changed


def test_a_run_that_diverged_is_not_in_the_mean(tmp_path):
    shutil.copytree(RUNS / 'tinyvgg', tmp_path / 'tinyvgg')
    (tmp_path / 'tinyvgg' / 'seed1' / 'divergence.json').write_text('{"message": ""}')
    shutil.rmtree(tmp_path / 'tinyvgg' / 'seed1' / 'eval')
    text = run_tables.claim(run_tables.read_group(tmp_path, 'tinyvgg'))
    assert 'seeds 0, 2, 3, 4.' in text


@pytest.mark.parametrize(
    ('table', 'part'),
    [
        ('seeds none', 'holds no runs'),
        ('peers none.json', 'none.json is missing'),
        ('goal all', "unknown kind of table 'goal'; did you mean 'goals'"),
        ('reproduction S9', "unknown project 'S9'"),
        ('framework in_torch', "unknown framework 'in_torch'"),
    ],
)
def test_a_table_of_nothing_is_an_error(table, part, tmp_path):
    with pytest.raises(UserError, match=part):
        tables.render(f'<!-- table: {table} -->\n<!-- end of table -->', tmp_path)


def test_a_table_without_an_end_takes_nothing_with_it():
    table = '<!-- table: headline tinyvgg -->\n'
    end = '<!-- end of table -->\n'
    tables.render(table + end + 'text' + table + end, RUNS)
    with pytest.raises(UserError, match='has no <!-- end of table --> before the next'):
        tables.render(table + 'text' + table + end, RUNS)


def test_a_claim_of_no_runs_says_so(tmp_path):
    text = '"""X.\n\nMeasured (results/runs/frontier/tiny):\nbefore\n"""\n'
    assert tables.render(text, tmp_path).splitlines()[3] == 'not measured yet.'
    with pytest.raises(UserError, match='frontier/tyni holds no runs'):
        tables.render(text.replace('tiny', 'tyni'), tmp_path)
    head = 'Published, and here (linaer in results/reproduction.md):'
    with pytest.raises(UserError, match="unknown config 'linaer'; did you mean"):
        tables.render(f'"""X.\n\n{head}\nx\n"""', tmp_path)


def test_check_names_what_is_stale(tmp_path):
    for name in ('results', 'configs', 'fmnist_jax'):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copyfile(ROOT / 'README.md', tmp_path / 'README.md')
    command = (sys.executable, '-m', 'results.tables', '--check')
    page = tmp_path / 'results' / 'README.md'
    text = page.read_text()
    page.write_text(text.replace('mean ± std', 'median'))
    done = subprocess.run(
        command, cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert 'runs makes them: results/README.md; run' in done.stderr
    subprocess.run(command[:-1], cwd=tmp_path, check=True, capture_output=True)
    assert page.read_text() == text


def test_the_small_files_of_a_run_are_kept(tmp_path):
    source = RUN_FOLDERS[0]
    workdir = tmp_path / 'run'
    shutil.copytree(source, workdir)
    (workdir / 'checkpoints').mkdir()
    (workdir / 'checkpoints' / 'large').write_text('x')
    keep.keep(workdir, tmp_path / 'kept')
    kept = {
        p.relative_to(tmp_path / 'kept'): p.read_bytes()
        for p in (tmp_path / 'kept').rglob('*')
        if p.is_file()
    }
    assert Path('metrics.jsonl') in kept
    assert kept == {
        p.relative_to(source): p.read_bytes() for p in source.rglob('*') if p.is_file()
    }


def test_a_run_is_kept_whole_or_not_at_all(tmp_path):
    workdir, kept = tmp_path / 'run', tmp_path / 'group' / 'run'
    shutil.copytree(RUNS / 'tinyvgg' / 'seed0', workdir)
    keep.keep(workdir, kept)
    before = {path.name for path in kept.iterdir()}
    (workdir / 'startup.json').unlink()
    with pytest.raises(FileNotFoundError):
        keep.keep(workdir, kept)
    assert {path.name for path in kept.iterdir()} == before
    # One that diverged may have stopped before its first call was done.
    (workdir / workdir_lib.DIVERGENCE).write_text('{"message": ""}')
    shutil.rmtree(workdir / 'eval')
    keep.keep(workdir, kept)
    expected = before - {'startup.json', 'eval'} | {workdir_lib.DIVERGENCE}
    assert {path.name for path in kept.iterdir()} == expected
    assert [path.name for path in kept.parent.iterdir()] == ['run']


def test_a_folder_without_a_name_is_kept_under_its_own(tmp_path, monkeypatch):
    shutil.copytree(RUNS / 'tinyvgg' / 'seed0', tmp_path / 'run')
    monkeypatch.chdir(tmp_path / 'run')
    monkeypatch.setattr(keep, 'RUNS', tmp_path / 'runs')
    monkeypatch.setattr(sys, 'argv', ['keep', '--to=group', '.'])
    keep.main()
    assert [path.name for path in (tmp_path / 'runs' / 'group').iterdir()] == ['run']


def test_what_is_there_is_as_the_runs_make_it(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['tables', '--check'])
    tables.main()
    assert capsys.readouterr().out == 'written: nothing\n'


def test_what_is_no_run_is_not_kept(tmp_path, monkeypatch):
    shutil.copytree(RUNS / 'tinyvgg' / 'seed0', tmp_path / 'begun')
    (tmp_path / 'begun' / 'startup.json').unlink()
    for group, workdir, part in (
        ('x', tmp_path, 'is not the work folder of a run'),
        ('x', ROOT / 'LICENSE', 'is not the work folder of a run'),
        ('x', tmp_path / 'begun', 'startup.json is missing: the run is not done'),
        ('runs.json', RUNS / 'tinyvgg' / 'seed0', 'choose another --to'),
        ('/proc/x', RUNS / 'tinyvgg' / 'seed0', 'choose another --to'),
    ):
        monkeypatch.setattr(sys, 'argv', ['keep', f'--to={group}', str(workdir)])
        # A text as the exit code is one line, and 1.
        with pytest.raises(SystemExit, match=f'^error: .*{re.escape(part)}[^\\n]*$'):
            keep.main()
        assert not (RUNS / 'x').exists()
