"""Runs side by side: real kept runs, against their files, NumPy, Bash and a browser."""

import csv
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from fmnist_jax.errors import UserError
from fmnist_jax.reporting import comparison_page, comparison_table, groups, text
from fmnist_jax.reporting.comparison import compare
from fmnist_jax.reporting.comparison_notes import notes
from fmnist_jax.reporting.figures import comparison as figures
from fmnist_jax.reporting.runs import Run
from tests.conftest import ROOT, run_script
from tests.test_bad_input import assert_fails

SEEDS = ROOT / 'results' / 'runs' / 'tinyvgg'
KINDS = ('txt', 'csv', 'md', 'html')


def edit(path: Path, **fields) -> None:
    """Sets fields, `a__b` for `a.b`, of a JSON file."""
    values = json.loads(path.read_text())
    for field, value in fields.items():
        *parents, last = field.split('__')
        inner = values
        for parent in parents:
            inner = inner[parent]
        inner[last] = value
    path.write_text(json.dumps(values))


def make_run(folder: Path, seed: int = 0, **fields) -> Path:
    """A copy of a real run, with other fields in its config."""
    shutil.copytree(SEEDS / f'seed{seed}', folder)
    edit(folder / 'config.json', **fields)
    return folder


def run_compare(*workdirs: Path, output: Path) -> tuple[list[groups.Group], str]:
    """The rows, and what was printed."""
    lines: list[str] = []
    return compare(workdirs, output, log=lines.append), '\n'.join(lines)


def read_csv(folder: Path) -> list[dict[str, str]]:
    with (folder / 'comparison.csv').open(newline='') as file:
        return list(csv.DictReader(file))


def read_groups(folder: Path) -> list[groups.Group]:
    """The rows of the runs in a folder."""
    return groups.group_runs([Run.read(run) for run in sorted(folder.iterdir())])


def cells_of(rows: list[groups.Group]) -> list[list[str]]:
    """The cells of their table in Markdown, header first."""
    return read_markdown(comparison_table.to_markdown(rows, []))


def read_markdown(content: str) -> list[list[str]]:
    """The cells of a Markdown table, without the line below the header."""
    lines = content.split('\n\n', maxsplit=1)[0].splitlines()
    rows = [re.split(r'(?<!\\)\|', line)[1:-1] for line in lines]
    assert set(map(len, rows)) == {len(rows[0])}
    return [[cell.strip() for cell in row] for row in (rows[0], *rows[2:])]


def files_of(folder: Path) -> tuple[dict[int, dict], dict[int, dict], dict]:
    """Train and validation lines by epoch, and the test metrics, of a work folder."""
    lines = [json.loads(x) for x in (folder / 'metrics.jsonl').read_text().splitlines()]
    train, validation = (
        {line['epoch']: line for line in lines if line['split'] == split}
        for split in ('train', 'validation')
    )
    path = folder / 'eval' / 'test' / 'metrics.json'
    return train, validation, json.loads(path.read_text())


def figures_of(folder: Path) -> dict[str, float]:
    """What a comparison should say of a run, from its files alone."""
    train, validation, test = files_of(folder)
    accuracies = np.array([validation[e]['accuracy'] for e in sorted(validation)])
    best = int(np.argmax(accuracies)) + 1
    return {
        'best_epoch': best,
        'train_seconds': sum(line['seconds'] for line in train.values()),
        'train_loss': train[best]['loss'],
        'train_accuracy': train[best]['accuracy'],
        'validation_loss': validation[best]['loss'],
        'validation_accuracy': validation[best]['accuracy'],
        'test_loss': test['loss'],
        'test_accuracy': test['accuracy'],
    }


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


def cut(folder: Path, num_lines: int) -> None:
    path = folder / 'metrics.jsonl'
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(''.join(lines[:num_lines]))


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
    shown = comparison_table.to_text(after, notes(after))
    assert shown.endswith('\n'.join(notes(after)))


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
    assert groups.name_folders(folders) == names
    assert groups.name_folders(['/x/a', '/y/b/']) == ['a', 'b']
    assert groups.name_folders(['/a/b', '/c/a/b']) == ['/a/b', 'c/a/b']


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
    label = groups.join_names(names)
    assert label == expected
    command = f'echo {label.replace(", ", " ")}'
    done = subprocess.run(
        ['bash', '-c', command], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == names


NAMES = (
    '=SUM(A1)',
    '@x, "y"',
    'a|b `c`',
    '<img src=x onerror=alert(1)>',
    '$x_1$',
    'two\nlines \x1b[31m',
    b'\xff'.decode('utf-8', 'surrogateescape'),
    'T-shirt 图',
)


def test_strange_names_stay_names(tmp_path, open_page):
    for number, name in enumerate(NAMES):
        run = make_run(tmp_path / 'runs' / 'x', batch_size=number + 1)
        run.rename(tmp_path / 'runs' / name)
    _, printed = run_compare(tmp_path / 'runs', output=tmp_path / 'out')
    shown = {text.printable(name) for name in NAMES}
    assert all(name.isprintable() for name in shown)
    assert '\x1b' not in printed

    rows = read_csv(tmp_path / 'out')
    names = {row['run'] for row in rows}
    assert {name.removeprefix("'") for name in names} == shown
    assert not any(name.startswith(('=', '+', '-', '@')) for name in names)
    for row in rows:
        assert (
            float(row['test_accuracy']) == figures_of(SEEDS / 'seed0')['test_accuracy']
        )

    markdown = (tmp_path / 'out' / 'comparison.md').read_text()
    cells = {row[0].replace(r'\|', '|') for row in read_markdown(markdown)[1:]}
    assert '`` a|b `c` ``' in cells
    ticked = {f'`{name}`' for name in shown if '`' not in name}
    assert cells == ticked | {'`` a|b `c` ``'}

    page = open_page(tmp_path / 'out' / 'comparison.html').page
    labels = page.locator('#comparison tbody th .name').all_inner_texts()
    assert {label.strip() for label in labels} == shown


def test_a_wide_table_is_folded_for_a_terminal():
    rows = groups.group_runs([Run.read(folder) for folder in SEEDS.iterdir()])
    whole = comparison_table.to_text(rows, [])
    folded = comparison_table.to_text(rows, [], width=60)
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


def test_curves_are_those_of_the_metrics():
    run = Run.read(SEEDS / 'seed0')
    train, validation, _ = files_of(SEEDS / 'seed0')
    epochs = sorted(validation)
    by_epoch = comparison_page.curve(run, 'validation', 'loss', 'epoch')
    assert by_epoch.x.tolist() == epochs
    assert by_epoch.y.tolist() == [validation[e]['loss'] for e in epochs]
    by_seconds = comparison_page.curve(run, 'train', 'accuracy', 'seconds')
    expected = np.cumsum([train[e]['seconds'] for e in epochs])
    np.testing.assert_allclose(by_seconds.x, expected)
    assert by_seconds.y.tolist() == [train[e]['accuracy'] for e in epochs]


def curve(*values: float) -> figures.Curve:
    return figures.Curve(np.arange(1.0, len(values) + 1), np.array(values))


def test_a_group_is_its_mean_and_its_runs():
    group = [curve(0.8, 0.85, 0.9), curve(0.7, 0.8)]
    (axes,) = figures.curves_figure([group], 'epoch', 'accuracy').axes
    lines = {line.get_gid(): line for line in axes.lines}
    assert set(lines) == {'group0', 'group0-0', 'group0-1'}
    np.testing.assert_allclose(lines['group0'].get_ydata(), [0.75, 0.825])
    np.testing.assert_allclose(lines['group0-0'].get_ydata(), [0.8, 0.85, 0.9])
    assert lines['group0'].get_linewidth() > lines['group0-0'].get_linewidth()
    assert len({line.get_color() for line in lines.values()}) == 1


def test_one_epoch_is_a_visible_point():
    (axes,) = figures.curves_figure([[curve(0.5)]], 'epoch', 'accuracy').axes
    (line,) = axes.lines
    assert line.get_marker() == 'o' and line.get_markersize() >= 3
    assert [t for t in axes.get_xticks() if 0.5 <= t <= 1.5] == [1]


def test_one_bad_run_does_not_squeeze_the_others():
    good = [[curve(0.85, 0.90, 0.93)], [curve(0.84, 0.89, 0.92)]]
    (axes,) = figures.curves_figure(good, 'epoch', 'accuracy').axes
    assert axes.get_yscale() == 'linear'
    bad = [*good, [curve(0.1, 0.1, 0.1)], [curve(0.9, 1.0, 1.0)]]
    (axes,) = figures.curves_figure(bad, 'epoch', 'accuracy').axes
    low, high = sorted(
        axes.transAxes.inverted().transform(
            axes.transData.transform([(1, 1 - 0.85), (1, 1 - 0.93)])
        )[:, 1]
    )
    assert high - low > 0.2
    for line in axes.lines:
        heights = axes.transAxes.inverted().transform(
            axes.transData.transform(line.get_xydata())
        )[:, 1]
        assert ((heights >= 0) & (heights <= 1)).all()
    figure = axes.figure
    figure.canvas.draw()
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert {'90%', '50%'} <= set(labels)


def test_looks_differ_by_colour_and_then_by_dashes():
    looks = [figures.Look.of(number) for number in range(28)]
    assert len({(look.color, look.dashes) for look in looks}) == 28
    assert len({look.color for look in looks[:7]}) == 7
    assert all(not look.dashes for look in looks[:7])


@pytest.fixture(scope='module')
def wide(tmp_path_factory) -> Path:
    """The comparison of twelve groups with long names, one of them of two seeds."""
    folder = tmp_path_factory.mktemp('wide')
    for number in range(12):
        name = f'an-experiment-with-a-name-that-is-rather-long-number-{number}'
        run = make_run(folder / 'runs' / name, batch_size=8 * (number + 1))
        cut(run, 32 - 2 * number)
    make_run(folder / 'runs' / 'seed1', seed=1, batch_size=8)
    run_compare(folder / 'runs', output=folder)
    return folder


def test_page_sorts_by_mouse_and_keyboard(wide, open_page):
    page = open_page(wide / 'comparison.html').page

    def column(heading: str) -> list[float]:
        number = page.locator('#comparison thead th').all_inner_texts()
        index = [text.strip() for text in number].index(heading)
        rows = page.locator('#comparison tbody tr').all()
        cells = [row.locator('th, td').nth(index) for row in rows]
        return [float(cell.get_attribute('data-value')) for cell in cells]

    accuracies = column('val. acc. %')
    assert len(accuracies) == 12
    assert accuracies == sorted(accuracies, reverse=True)
    page.get_by_role('button', name='batch_size').click()
    assert column('batch_size') == [8.0 * n for n in range(1, 13)]
    page.get_by_role('button', name='seconds').focus()
    page.keyboard.press('Enter')
    assert column('seconds') == sorted(column('seconds'))
    page.keyboard.press('Enter')
    assert column('seconds') == sorted(column('seconds'), reverse=True)
    assert column('seconds')[0] != column('seconds')[-1]


def test_page_hides_and_shows_lines(wide, open_page):
    page = open_page(wide / 'comparison.html').page
    buttons = page.locator('.legend button')
    assert buttons.count() == 12

    def visible(group: int) -> int:
        return page.locator('.panels g[id*="-group"]').evaluate_all(
            '(lines, group) => lines.filter(line =>'
            ' line.id.split("-")[1] === group && line.style.display !== "none").length',
            f'group{group}',
        )

    # Six panels: the mean, and of the row of two seeds both runs.
    totals = [visible(group) for group in range(12)]
    assert sorted(totals) == [6] * 11 + [18]
    buttons.nth(1).focus()
    page.keyboard.press('Space')
    assert buttons.nth(1).get_attribute('aria-pressed') == 'false'
    assert [visible(group) for group in range(12)] == [totals[0], 0, *totals[2:]]
    buttons.nth(1).click()
    assert [visible(group) for group in range(12)] == totals


def test_page_fits_a_phone_and_is_told_in_words(wide, open_page):
    page = open_page(
        wide / 'comparison.html', viewport={'width': 390, 'height': 800}
    ).page
    assert page.evaluate('document.documentElement.scrollWidth') <= 390
    for figure in page.locator('.panels figure').all():
        assert figure.locator('figcaption').inner_text()
        image = figure.locator('[role=img]')
        assert 'line' in image.get_attribute('aria-label')
        box = figure.locator('svg').bounding_box()
        assert box['x'] >= 0 and box['x'] + box['width'] <= 390
    details = page.locator('details')
    assert not details.get_attribute('open')
    details.locator('summary').click()
    assert page.locator('#runs tbody tr').count() == 13


def test_script_on_a_real_run(finished_run, tmp_path):
    done = run_script(
        'fmnist_jax.compare',
        str(finished_run),
        f'{finished_run}/',
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ''
    (row,) = read_csv(tmp_path / 'runs' / 'comparison')
    run = Run.read(finished_run)
    assert float(row['validation_accuracy']) == run.best['accuracy']
    assert int(row['num_parameters']) == 7740
    assert f'{100 * run.best["accuracy"]:.2f}' in done.stdout
    for kind in KINDS:
        path = Path('runs') / 'comparison' / f'comparison.{kind}'
        assert f'written: {path}' in done.stdout
        assert (tmp_path / path).exists()


def write(name: str, content: str):
    return lambda run: (run / name).write_text(content)


# What is wrong with a work folder, and what the message must hold.
DAMAGED = {
    'config missing': (
        lambda run: (run / 'config.json').unlink(),
        ['{run} holds no run'],
    ),
    'config is not JSON': (
        write('config.json', '{"seed": '),
        ['{run}/config.json cannot be read'],
    ),
    'config is a list': (
        write('config.json', '[1]'),
        ['{run}/config.json is damaged', 'no JSON object'],
    ),
    'config of something else': (
        write('config.json', '{"seed": 1}'),
        ['{run}/config.json is not the config of a run: it has no model.name'],
    ),
    'provenance missing': (
        lambda run: (run / 'provenance.json').unlink(),
        ['{run}/provenance.json is missing'],
    ),
    'no metrics': (
        lambda run: (run / 'metrics.jsonl').unlink(),
        ['{run} has no metrics yet: train for an epoch at least'],
    ),
    'nothing but the part of a line': (
        write('metrics.jsonl', '{"epoch": 1, "st'),
        ['{run} has no metrics yet'],
    ),
    'metrics damaged in the middle': (
        lambda run: write(
            'metrics.jsonl',
            (run / 'metrics.jsonl').read_text().replace('"epoch": 2', '"epo', 1),
        )(run),
        ['{run}/metrics.jsonl is damaged in line 3'],
    ),
    'metrics without a number': (
        lambda run: write(
            'metrics.jsonl',
            (run / 'metrics.jsonl').read_text().replace('"loss"', '"lost"', 1),
        )(run),
        ['{run}/metrics.jsonl is damaged in line 1: it has no loss'],
    ),
    'a line of metrics missing': (
        lambda run: write(
            'metrics.jsonl',
            (run / 'metrics.jsonl').read_text().split('\n', 1)[1],
        )(run),
        ['{run}/metrics.jsonl is damaged: a line of epoch 1 is missing'],
    ),
    'metrics that are no text': (
        lambda run: (run / 'metrics.jsonl').write_bytes(b'\xff\xfe\x00'),
        ['{run}/metrics.jsonl cannot be read'],
    ),
    'half an evaluation': (
        write('eval/test/metrics.json', '{"loss": 0.2, "accu'),
        ['{run}/eval/test/metrics.json cannot be read', 'evaluate again'],
    ),
    'an evaluation without accuracy': (
        write('eval/test/metrics.json', '{"loss": 0.2}'),
        ['{run}/eval/test/metrics.json is damaged: it has no accuracy', 'evaluate'],
    ),
}


@pytest.mark.parametrize('case', DAMAGED)
def test_damaged_work_folder_is_named(case, tmp_path):
    run = make_run(tmp_path / 'run')
    damage, parts = DAMAGED[case]
    damage(run)
    with pytest.raises(UserError) as raised:
        compare([run], tmp_path / 'out')
    assert len(str(raised.value).splitlines()) == 1
    for part in parts:
        assert part.format(run=run) in str(raised.value)
    assert not (tmp_path / 'out').exists()


# Arguments, of which {run} is a good one, and what the message must hold.
ARGUMENTS = {
    'none': ([], ['WORKDIR... is missing']),
    'absent': (['{run}', '{run}-2'], ['{run}-2 does not exist']),
    'matches nothing': (['{run}*/x'], ['{run}*/x does not exist']),
    'a file': (['{run}/config.json'], ['{run}/config.json is a file']),
    'half an evaluation': (['{torn}'], ['{torn}/eval/test/metrics.json cannot be']),
    'a file for output': (
        ['{run}', '--output={run}/config.json'],
        ['cannot write to {run}/config.json: Not a directory', '--output'],
    ),
    'no place for output': (
        ['{run}', '--output=/proc/comparison'],
        ['cannot write to /proc/comparison: /proc: ', '--output'],
    ),
    'unknown flag': (['{run}', '--outptu=x'], ["'outptu'", 'Did you mean: output']),
}


@pytest.mark.parametrize('case', ARGUMENTS)
def test_mistake_in_the_arguments(case, tmp_path):
    places = {'run': make_run(tmp_path / 'run'), 'torn': make_run(tmp_path / 'torn')}
    write('eval/test/metrics.json', '{"loss": 0.2, "accu')(places['torn'])
    arguments, parts = (
        [text.format(**places) for text in texts] for texts in ARGUMENTS[case]
    )
    if not any(argument.startswith('--output') for argument in arguments):
        arguments.append(f'--output={tmp_path}/out')
    assert_fails(run_script('fmnist_jax.compare', *arguments), *parts)
    assert not (tmp_path / 'out').exists()
    assert json.loads((places['run'] / 'config.json').read_text())['seed'] == 0
