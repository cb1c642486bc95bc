"""Tables, notes and names of a comparison: real kept runs, against files and NumPy."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from fmnist_jax.reporting.comparison import compare as compare_lib
from fmnist_jax.reporting.comparison import formats, groups
from fmnist_jax.reporting.comparison.names import join_names, name_folders
from fmnist_jax.reporting.comparison.notes import notes
from fmnist_jax.reporting.runs import Run
from tests.kept_runs import (
    KINDS,
    SEEDS,
    cut,
    edit,
    figures_of,
    make_run,
    read_csv,
    read_markdown,
    run_compare,
)


@pytest.fixture(autouse=True)
def no_page(monkeypatch):
    """The page takes most of the time; test_compare.py looks at it."""
    monkeypatch.setattr(compare_lib.page_lib, 'page', lambda *_: 'page')


def read_groups(folder: Path) -> list[groups.Group]:
    """The rows of the runs in a folder."""
    return groups.group_runs([Run.read(run) for run in sorted(folder.iterdir())])


def cells_of(rows: list[groups.Group]) -> list[list[str]]:
    """The cells of their table in Markdown, header first."""
    return read_markdown(formats.to_markdown(rows, []))


def test_seeds_make_one_row_of_means_and_spreads(tmp_path):
    rows, printed = run_compare(*SEEDS.iterdir(), output=tmp_path)
    assert len(rows) == 1
    expected = [figures_of(folder) for folder in SEEDS.iterdir()]
    header, row = read_markdown((tmp_path / 'comparison.md').read_text())
    cells = dict(zip(header, row, strict=True))
    assert cells['run'].startswith('`seed{')
    assert cells['seeds'] == '5'
    assert (cells['model'], cells['parameters']) == ('`tinyvgg`', '7,740')
    assert cells['epochs'] == '16'
    for heading, key, digits, factor in (
        ('seconds', 'train_seconds', 1, 1),
        ('train acc. %', 'train_accuracy', 2, 100),
        ('val. acc. %', 'validation_accuracy', 2, 100),
        ('test acc. %', 'test_accuracy', 2, 100),
        ('train loss', 'train_loss', 4, 1),
        ('val. loss', 'validation_loss', 4, 1),
        ('test loss', 'test_loss', 4, 1),
        ('best epoch', 'best_epoch', 0, 1),
    ):
        values = factor * np.array([figures[key] for figures in expected])
        mean, std = np.mean(values), np.std(values, ddof=1)
        assert cells[heading] == f'{mean:.{digits}f} ± {std:.{digits}f}', heading
        assert cells[heading] in printed
    assert printed.startswith((tmp_path / 'comparison.txt').read_text().rstrip())
    for kind in KINDS:
        assert f'written: {tmp_path}/comparison.{kind}' in printed


def test_csv_has_a_row_a_run_with_the_very_numbers_of_its_files(tmp_path):
    trial = make_run(tmp_path / 'slow', optimizer__learning_rate=-1e-3)
    run_compare(*SEEDS.iterdir(), trial, output=tmp_path / 'out')
    rows = read_csv(tmp_path / 'out')
    assert len(rows) == 6
    for row in rows:
        folder = Path(row['workdir'])
        assert folder.name == row['run']
        for key, value in figures_of(folder).items():
            assert float(row[key]) == value, key
        config = json.loads((folder / 'config.json').read_text())
        assert int(row['seed']) == config['seed']
        assert (
            float(row['optimizer.learning_rate'])
            == (config['optimizer']['learning_rate'])
        )
        assert (row['num_parameters'], row['num_epochs']) == ('7740', '16')
    sizes = [
        len({r['run'] for r in rows if r['group'] == row['group']}) for row in rows
    ]
    assert sorted(sizes) == [1, 5, 5, 5, 5, 5]


def test_how_a_run_was_carried_out_does_not_tell_groups_apart(tmp_path):
    make_run(tmp_path / 'a', seed=0)
    make_run(tmp_path / 'b', seed=1, num_cpu_devices=1, steps_per_call=7)
    make_run(
        tmp_path / 'c',
        seed=2,
        data__data_dir='/elsewhere',
        logging__every_seconds=1.0,
    )
    make_run(tmp_path / 'd', seed=3, batch_size=128)
    rows = read_groups(tmp_path)
    assert {tuple(run.name for run in row.runs) for row in rows} == {
        ('a', 'b', 'c'),
        ('d',),
    }
    header, *cells = cells_of(rows)
    assert header[3] == 'batch_size'
    assert {row[3] for row in cells} == {'`64`', '`128`'}
    assert not {'num_cpu_devices', 'data_dir', 'seed'} & set(header)


def test_rows_are_ordered_by_validation_accuracy():
    rows = read_groups(SEEDS.parent / 'tinyvgg-trials')
    means = [np.mean([run.best['accuracy'] for run in row.runs]) for row in rows]
    assert len(means) == 14
    assert means == sorted(means, reverse=True)


def test_fields_are_short_where_no_other_has_the_name(tmp_path):
    augmentation = [{'name': 'horizontal_flip'}, {'name': 'pad_and_crop', 'padding': 2}]
    make_run(tmp_path / 'a', optimizer__name='sgd', augmentation=augmentation)
    make_run(tmp_path / 'b', label_smoothing=0.1, data__mean=[0.5])
    header, *rows = cells_of(read_groups(tmp_path))
    assert header[3:7] == ['augmentation', 'mean', 'label_smoothing', 'optimizer.name']
    assert {row[3] for row in rows} == {
        '`horizontal_flip(), pad_and_crop(padding=2)`',
        '`none`',
    }
    assert {row[4] for row in rows} == {'`0.286`', '`0.5`'}


def test_older_runs_have_dashes_for_what_they_do_not_say(tmp_path):
    old = SEEDS.parent / 'tinyvgg-trials' / 'batch32'
    assert 'model' not in json.loads((old / 'provenance.json').read_text())
    rows, printed = run_compare(
        old, make_run(tmp_path / 'new'), output=tmp_path / 'out'
    )
    header, *rows = cells_of(rows)
    row = dict(zip(header, next(r for r in rows if r[0] == '`batch32`'), strict=True))
    for heading in ('parameters', 'test acc. %', 'test loss'):
        assert row[heading] == '-'
    assert 'Not evaluated on test: batch32' in printed
    (csv_row,) = (r for r in read_csv(tmp_path / 'out') if r['run'] == 'batch32')
    assert csv_row['num_parameters'] == csv_row['test_accuracy'] == ''


def test_an_unfinished_run_says_how_far_it_came(tmp_path):
    cut(make_run(tmp_path / 'a'), 6)
    make_run(tmp_path / 'b', seed=1)
    rows = read_groups(tmp_path)
    assert notes(rows)[0] == 'Unfinished, with 3 of 16 epochs: a.'
    header, row = cells_of(rows)
    assert row[header.index('epochs')] == '16, 3/16'


def test_a_figure_of_fewer_runs_says_of_how_many(tmp_path):
    make_run(tmp_path / 'a')
    shutil.rmtree(make_run(tmp_path / 'b', seed=1) / 'eval')
    make_run(tmp_path / 'c', seed=2)
    rows = read_groups(tmp_path)
    header, row = cells_of(rows)
    cells = dict(zip(header, row, strict=True))
    values = [figures_of(SEEDS / f'seed{n}')['test_accuracy'] for n in (0, 2)]
    mean, std = 100 * np.mean(values), 100 * np.std(values, ddof=1)
    assert cells['test acc. %'] == f'{mean:.2f} ± {std:.2f} (n = 2)'
    assert 'n =' not in cells['val. acc. %']
    assert notes(rows)[0].startswith('Not evaluated on test: b (')


# Changes to the second of two runs, and what is told of them.
NOT_COMPARABLE = {
    'test figures of another checkpoint': (
        lambda run: edit(run / 'eval/test/metrics.json', checkpoint_step=859),
        r'b: the test figures are of step 859, not of the best epoch \(step \d+\)',
    ),
    'other data': (
        lambda run: edit(run / 'provenance.json', data__sha256={'train_images': 'f00'}),
        'The data differ .*: (a; b|b; a)',
    ),
    'another validation split': (
        lambda run: edit(run / 'config.json', data__validation_split='train[50000:]'),
        r'Validation figures are of different images: .*train\[50000:\] \(b\)',
    ),
    'chosen on test': (
        lambda run: edit(run / 'config.json', data__validation_split='test'),
        'Test figures are optimistic, on images that the model was chosen by: b',
    ),
    'chosen on a part of test': (
        lambda run: edit(
            run / 'eval/test/metrics.json', selection={'shared_with_validation': 7}
        ),
        'Test figures are optimistic, on images that the model was chosen by: b',
    ),
    'trained on test': (
        lambda run: edit(run / 'config.json', data__train_split='test'),
        'Test figures are optimistic, on images that the model was trained on: b',
    ),
    'training figures measured otherwise': (
        lambda run: edit(run / 'config.json', train_metrics='after_epoch'),
        r'Training figures are measured in different ways: .*after_epoch \(b\)',
    ),
    'other devices': (
        lambda run: edit(
            run / 'provenance.json',
            devices={'number': 8, 'platform': 'tpu', 'kind': 'TPU v5e'},
        ),
        r'Seconds are of different devices: .*8 x TPU v5e \(b\)',
    ),
}


@pytest.mark.parametrize('case', NOT_COMPARABLE)
def test_what_does_not_compare_is_told(case, tmp_path):
    make_run(tmp_path / 'a', seed=0)
    other = make_run(tmp_path / 'b', seed=1)
    (before,) = read_groups(tmp_path)
    assert notes([before]) == []
    change, pattern = NOT_COMPARABLE[case]
    change(other)
    after = read_groups(tmp_path)
    assert any(re.match(pattern, note) for note in notes(after)), notes(after)
    shown = formats.to_text(after, notes(after))
    assert shown.endswith('\n'.join(notes(after)))


# What two runs' evaluations say of the origin of their weights, and what is told.
FOREIGN = 'whose training images are not known here.'
ORIGINS = {
    'evaluated before origins were': (
        lambda run: edit(run / 'eval/test/metrics.json', selection={}),
        [f'{{a,b}} learned from /runs/first, {FOREIGN}'],
    ),
    'not evaluated': (
        lambda run: shutil.rmtree(run / 'eval'),
        [f'{{a,b}} learned from /runs/first, {FOREIGN}'],
    ),
    'unknown': (
        lambda run: edit(
            run / 'eval/test/metrics.json', selection={'unknown_origin': '/runs/\nold'}
        ),
        [rf'{{a,b}} learned from /runs/\nold, {FOREIGN}'],
    ),
    'counted': (
        lambda run: edit(run / 'eval/test/metrics.json', selection={'words': 'No: …'}),
        [],
    ),
}


@pytest.mark.parametrize('case', ORIGINS)
def test_weights_of_unknown_origin_are_told(case, tmp_path):
    change, expected = ORIGINS[case]
    for seed, name in enumerate(('a', 'b')):
        run = make_run(tmp_path / f'run-{name}', seed=seed)
        edit(run / 'provenance.json', init_from={'workdir': '/runs/first', 'step': 859})
        change(run)
    told = notes(read_groups(tmp_path))
    assert [note for note in told if 'learned from' in note] == [
        f'run-{note}' for note in expected
    ]


def test_other_data_are_another_group(tmp_path):
    make_run(tmp_path / 'a', seed=0)
    other = make_run(tmp_path / 'b', seed=1)
    edit(other / 'provenance.json', data__sha256={'train_images': 'f00'})
    assert len(read_groups(tmp_path)) == 2


def test_a_seed_counts_once_a_row(tmp_path):
    """Two sets of the same seeds, say on two machines, stand side by side."""
    for name in ('one', 'two'):
        for seed in range(3):
            make_run(tmp_path / name / f'seed{seed}', seed=seed)
    rows, printed = run_compare(tmp_path / 'one', tmp_path / 'two', output=tmp_path)
    assert [row.label for row in rows] == ['one/seed{0..2}', 'two/seed{0..2}']
    assert 'two/seed{0..2} and one/seed{0..2} differ in nothing' in printed


def test_a_folder_named_often_counts_once(tmp_path):
    make_run(tmp_path / 'runs' / 'a')
    make_run(tmp_path / 'runs' / 'b', seed=1)
    (tmp_path / 'runs' / 'link').symlink_to(tmp_path / 'runs' / 'a')
    rows, printed = run_compare(
        tmp_path / 'runs' / 'a',
        tmp_path / 'runs' / '..' / 'runs' / 'a',
        tmp_path / 'runs' / 'link',
        tmp_path / 'runs' / '*',
        tmp_path / 'runs',
        output=tmp_path / 'out',
    )
    assert [[run.name for run in row.runs] for row in rows] == [['a', 'b']]
    assert 'Left out' not in printed


def test_what_a_pattern_matches_besides_runs_is_left_out(tmp_path):
    runs = tmp_path / 'runs'
    make_run(runs / 'a')
    cut(make_run(runs / 'starting', seed=1), 0)
    (runs / 'log.txt').write_text('mine')
    (runs / 'empty').mkdir()
    output = runs / 'comparison'
    for _ in range(2):
        rows, printed = run_compare(runs / '*', output=output)
        assert [[run.name for run in row.runs] for row in rows] == [['a']]
        assert f'Left out: {runs}/log.txt is a file.' in printed
        assert f'Left out: {runs}/empty holds no run.' in printed
        assert f'Left out: {runs}/starting has no metrics yet' in printed
        assert str(output) not in printed.split('written:')[0]


def test_a_work_folder_may_be_the_output(tmp_path):
    run = make_run(tmp_path / 'a')
    (row,), _ = run_compare(run, output=run)
    assert row.label == 'a'
    assert (run / 'comparison.html').exists()


@pytest.mark.parametrize('cut_at', [40, -1])
def test_a_cut_off_last_line_is_left_out_and_told(cut_at, tmp_path):
    folder = make_run(tmp_path / 'a')
    path = folder / 'metrics.jsonl'
    lines = path.read_text().splitlines(keepends=True)
    # The whole of epoch 3, and epoch 4 up to somewhere in its last line.
    path.write_text(''.join(lines[:7]) + lines[7][:-2][:cut_at])
    (row,), printed = run_compare(folder, output=tmp_path / 'out')
    assert row.runs[0].epochs == 3
    assert 'a: metrics.jsonl is cut off after epoch 3.' in printed
    seconds = sum(json.loads(line)['seconds'] for line in lines[0:6:2])
    assert float(read_csv(tmp_path / 'out')[0]['train_seconds']) == seconds


def test_names_tell_folders_apart():
    folders = ['/x/one/seed0', '/x/two/seed0', '/y/one/seed1']
    names = ['one/seed0', 'two/seed0', 'one/seed1']
    assert name_folders(folders) == names
    assert name_folders(['/x/a', '/y/b/']) == ['a', 'b']
    assert name_folders(['/a/b', '/c/a/b']) == ['/a/b', 'c/a/b']
    assert name_folders([]) == []


def test_names_that_no_part_tells_apart_are_numbered():
    assert name_folders(['/x/a', '/x/a', '/x/a']) == ['a', 'a (2)', 'a (3)']
    assert name_folders(['/x/a', '/x/a', '/x/a (2)']) == ['a', 'a (3)', 'a (2)']
    # A line end, and a backslash and an n.
    assert name_folders(['/x/a\n', '/x/a\\n']) == ['a\\n', 'a\\n (2)']
    assert name_folders(['/x/a\n', '/y/a\\n']) == ['x/a\\n', 'y/a\\n']


def test_runs_whose_names_look_alike_are_all_told(tmp_path):
    for seed, name in enumerate(('a\n', 'a\\n')):
        make_run(tmp_path / 'runs' / name, seed=seed)
    (row,), _ = run_compare(tmp_path / 'runs', output=tmp_path / 'out')
    assert {run.config['seed'] for run in row.runs} == {0, 1}
    rows = {row['run']: row for row in read_csv(tmp_path / 'out')}
    assert set(rows) == {'a\\n', 'a\\n (2)'}
    for row in rows.values():
        expected = figures_of(SEEDS / f'seed{row["seed"]}')
        assert float(row['test_accuracy']) == expected['test_accuracy']


def test_a_folder_above_a_link_is_that_of_what_it_points_to(tmp_path, monkeypatch):
    """As the system has it: `link/../a` is beside what `link` points to."""
    here = make_run(tmp_path / 'here' / 'a', seed=0)
    there = make_run(tmp_path / 'there' / 'a', seed=1)
    (there.parent / 'deep').mkdir()
    (here.parent / 'link').symlink_to(there.parent / 'deep')
    monkeypatch.chdir(here.parent)
    (row,), _ = run_compare('link/../a', 'a', output=tmp_path / 'out')
    seeds = {run.name: run.config['seed'] for run in row.runs}
    assert seeds == {'here/a': 0, 'there/a': 1}


def test_a_link_is_named_as_it_was_named(tmp_path):
    make_run(tmp_path / 'runs' / '2024-07-01')
    (tmp_path / 'baseline').symlink_to(tmp_path / 'runs' / '2024-07-01')
    (row,), _ = run_compare(tmp_path / 'baseline', output=tmp_path / 'out')
    assert row.label == 'baseline'


@pytest.mark.parametrize(
    ('names', 'expected'),
    [
        (['seed0', 'seed1', 'seed2'], 'seed{0..2}'),
        (['s9', 's10', 's11'], 's{9..11}'),
        (['s10', 's11'], 's{10,11}'),
        (['lr0.1-a', 'lr0.15-a', 'lr0.2-a'], 'lr{0.1,0.15,0.2}-a'),
        (['run', 'run-1'], 'run{,-1}'),
        (['a', 'b'], 'a, b'),
        (['one'], 'one'),
    ],
)
def test_a_row_is_named_as_bash_would_expand_it(names, expected):
    label = join_names(names)
    assert label == expected
    command = f'echo {label.replace(", ", " ")}'
    done = subprocess.run(
        ['bash', '-c', command], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == names


def test_a_wide_table_is_folded_for_a_terminal():
    rows = groups.group_runs([Run.read(folder) for folder in SEEDS.iterdir()])
    whole = formats.to_text(rows, [])
    folded = formats.to_text(rows, [], width=60)
    assert max(map(len, whole.splitlines())) > 60
    assert max(map(len, folded.splitlines())) <= 60
    blocks = folded.split('\n\n')
    assert len(blocks) > 2
    values = []
    for block in blocks:
        header, _, row = block.splitlines()
        assert header.split()[0] == 'run'
        values += row.split()[1:]
    assert values == whole.splitlines()[2].split()[1:]
