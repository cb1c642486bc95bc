"""The page of a comparison in a browser, its curves, and the script."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fmnist_jax.errors import UserError
from fmnist_jax.reporting import text
from fmnist_jax.reporting.comparison import page as page_lib
from fmnist_jax.reporting.comparison.compare import compare
from fmnist_jax.reporting.figures import comparison as figures
from fmnist_jax.reporting.runs import Run
from tests.conftest import ROOT, run_script
from tests.kept_runs import (
    KINDS,
    SEEDS,
    cut,
    figures_of,
    files_of,
    make_run,
    read_csv,
    read_markdown,
    run_compare,
)
from tests.mistakes import assert_fails


def test_curves_are_those_of_the_metrics():
    run = Run.read(SEEDS / 'seed0')
    train, validation, _ = files_of(SEEDS / 'seed0')
    epochs = sorted(validation)
    by_epoch = page_lib.curve(run, 'validation', 'loss', 'epoch')
    assert by_epoch.x.tolist() == epochs
    assert by_epoch.y.tolist() == [validation[e]['loss'] for e in epochs]
    by_seconds = page_lib.curve(run, 'train', 'accuracy', 'seconds')
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
LONG_NAMES = tuple(
    f'an-experiment-with-a-name-that-is-rather-long-number-{number}'
    for number in range(4)
)


@pytest.fixture(scope='module')
def wide(tmp_path_factory) -> Path:
    """The comparison of twelve groups of bad names, the first of two seeds."""
    folder = tmp_path_factory.mktemp('wide')
    for number, name in enumerate((*LONG_NAMES, *NAMES)):
        run = make_run(folder / 'runs' / 'x', batch_size=8 * (number + 1))
        cut(run, 32 - 2 * number)
        run.rename(folder / 'runs' / name)
    make_run(folder / 'runs' / 'seed1', seed=1, batch_size=8)
    _, printed = run_compare(folder / 'runs', output=folder)
    (folder / 'printed.txt').write_text(printed)
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


def test_strange_names_stay_names(wide, open_page):
    shown = {text.printable(name) for name in NAMES}
    assert all(name.isprintable() for name in shown)
    printed = (wide / 'printed.txt').read_text()
    assert '\x1b' not in printed
    assert all(name in printed for name in shown)

    rows = read_csv(wide)
    names = {row['run'] for row in rows}
    assert {name.removeprefix("'") for name in names} == {*shown, *LONG_NAMES, 'seed1'}
    assert not any(name.startswith(('=', '+', '-', '@')) for name in names)
    for row in rows:
        expected = figures_of(SEEDS / f'seed{row["seed"]}')
        assert float(row['test_accuracy']) == expected['test_accuracy']

    groups = {*shown, f'{LONG_NAMES[0]}, seed1', *LONG_NAMES[1:]}
    markdown = (wide / 'comparison.md').read_text()
    cells = {row[0].replace(r'\|', '|') for row in read_markdown(markdown)[1:]}
    ticked = {f'`{name}`' for name in groups if '`' not in name}
    assert cells == ticked | {'`` a|b `c` ``'}

    page = open_page(wide / 'comparison.html').page
    labels = page.locator('#comparison tbody th .name').all_inner_texts()
    assert {label.strip() for label in labels} == groups


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


def edit_lines(run: Path, change: Callable[[list[str]], list[str]]) -> None:
    path = run / 'metrics.jsonl'
    path.write_text(''.join(change(path.read_text().splitlines(keepends=True))))


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
    'provenance of another kind': (
        write('provenance.json', '{"devices": [2]}'),
        ['{run}/provenance.json is damaged: its devices is no JSON object'],
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
    'a line of metrics twice': (
        lambda run: edit_lines(run, lambda lines: [*lines[:4], lines[2], *lines[4:]]),
        [
            '{run}/metrics.jsonl is damaged in line 5: it has epoch 2 of',
            'epoch 3 should',
        ],
    ),
    'all lines of metrics twice': (
        lambda run: edit_lines(run, lambda lines: lines * 2),
        ['{run}/metrics.jsonl is damaged in line 33: it has epoch 1 of train'],
    ),
    'epochs out of order': (
        lambda run: edit_lines(run, lambda lines: [*lines[2:4], *lines[:2]]),
        ['{run}/metrics.jsonl is damaged in line 1', 'where epoch 1 should follow'],
    ),
    'an epoch of metrics missing': (
        lambda run: edit_lines(run, lambda lines: [*lines[:2], *lines[4:]]),
        ['{run}/metrics.jsonl is damaged in line 3', 'where epoch 2 should follow'],
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


# Work folders and output, of which {run} is a good one, and what the message must hold.
PLACES = {
    'matches nothing': (['{run}*/x'], '{run}-out', ['{run}*/x does not exist']),
    'a file': (['{run}/config.json'], '{run}-out', ['{run}/config.json is a file']),
    'a file for output': (
        ['{run}'],
        '{run}/config.json',
        ['cannot write to {run}/config.json: Not a directory', '--output'],
    ),
    'no place for output': (
        ['{run}'],
        '/proc/comparison',
        ['cannot write to /proc/comparison: /proc: ', '--output'],
    ),
}


@pytest.mark.parametrize('case', PLACES)
def test_mistake_in_the_places(case, tmp_path):
    run = make_run(tmp_path / 'run')
    workdirs, output, parts = PLACES[case]
    with pytest.raises(UserError) as raised:
        compare([path.format(run=run) for path in workdirs], output.format(run=run))
    assert len(str(raised.value).splitlines()) == 1
    for part in parts:
        assert part.format(run=run) in str(raised.value)
    assert not (tmp_path / 'run-out').exists()
    assert json.loads((run / 'config.json').read_text())['seed'] == 0


# Arguments of the script, of which {run} is a good run, and what it must say.
ARGUMENTS = {
    'none': ([], ['WORKDIR... is missing']),
    'absent': (['{run}', '{run}-2'], ['{run}-2 does not exist']),
    'unknown flag': (['{run}', '--outptu=x'], ["'outptu'", 'Did you mean: output']),
}


@pytest.mark.parametrize('case', ARGUMENTS)
def test_mistake_in_the_arguments(case, tmp_path):
    run, (arguments, parts) = make_run(tmp_path / 'run'), ARGUMENTS[case]
    done = run_script(
        'fmnist_jax.compare',
        *(argument.format(run=run) for argument in arguments),
        f'--output={tmp_path}/out',
    )
    assert_fails(done, *(part.format(run=run) for part in parts))
    assert not (tmp_path / 'out').exists()
