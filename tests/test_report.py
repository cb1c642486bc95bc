"""The report of an evaluation, in a real browser, against NumPy."""

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from etils import epath
from matplotlib.colors import to_rgb
from PIL import Image

from fmnist_jax.data import Dataset
from fmnist_jax.reporting import metrics as metrics_lib
from fmnist_jax.reporting.figures.confusion import color_scale, ink_on
from fmnist_jax.reporting.gallery import Scored
from fmnist_jax.reporting.report import Origin, write_report
from fmnist_jax.training.evaluation.evaluate import evaluate

NAMES = tuple('ABCDEFGHIJ')
PROVENANCE = {
    'git_commit': None,
    'versions': {'jax': '0'},
    'devices': {'number': 1, 'kind': 'cpu', 'platform': 'cpu'},
    'data': {'name': 'some', 'source': 'somewhere'},
}
CONFIG = {'model.name': 'tinyvgg', 'num_epochs': 3, 'train_metrics': 'running'}
LINES = [
    {'epoch': epoch, 'step': 10 * epoch, 'split': split, 'loss': loss, 'accuracy': 0.5}
    | ({'seconds': 1.0} if split == 'train' else {})
    for epoch, losses in enumerate([(3.0, 3.0), (2.0, 2.0), (1.0, 4.0)], start=1)
    for split, loss in zip(('train', 'validation'), losses, strict=True)
]


def make_scored(images, labels, num_classes=10, names=None) -> Scored:
    """Real images with made-up predictions, about two thirds of them right."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(len(labels), num_classes)).astype(np.float32)
    logits[np.arange(len(labels)), labels] += 2
    log_probabilities = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    names = names or tuple(map(str, range(num_classes)))
    return Scored(images, labels.astype(np.int64), log_probabilities, names)


def make_report(folder: Path, scored: Scored, lines=LINES, **origin) -> dict:
    """Writes a report; returns its metrics."""
    metrics = {
        'split': 'test',
        'split_spec': 'test',
        'checkpoint': 'best',
        'checkpoint_step': 20,
        'num_parameters': 7,
        'selection': {'words': 'No.'},
        **metrics_lib.classification_report(
            scored.log_probabilities, scored.labels, scored.class_names
        ),
    }
    origin = {'run': 'run', 'config': CONFIG, 'provenance': PROVENANCE} | origin
    folder.mkdir(parents=True, exist_ok=True)
    write_report(
        epath.Path(folder),
        metrics,
        scored,
        Origin(**origin, lines=lines, steps_per_epoch=10),
    )
    return metrics


@pytest.fixture(scope='module')
def evaluated(finished_run) -> tuple[Path, dict, np.ndarray]:
    """What `evaluate` wrote of a real run: folder, metrics, probabilities."""
    metrics = evaluate(finished_run, 'test')
    folder = finished_run / 'eval' / 'test'
    with np.load(folder / 'predictions.npz') as file:
        return folder, metrics, file['probabilities']


def cell(label: int, predicted: int) -> str:
    return f'#matrix td[data-label="{label}"][data-predicted="{predicted}"]'


def decode(uri: str) -> np.ndarray:
    content = base64.b64decode(uri.removeprefix('data:image/png;base64,'))
    return np.asarray(Image.open(io.BytesIO(content)))


def test_evaluate_writes_figures_and_a_report(evaluated):
    folder, _, _ = evaluated
    for name in ('confusion_matrix', 'reliability_diagram', 'learning_curves'):
        with Image.open(folder / f'{name}.png') as image:
            image.load()
            assert image.format == 'PNG'
            assert min(image.size) > 500
            assert len(image.convert('RGB').getcolors(2**24)) > 20
        assert (folder / f'{name}.pdf').read_bytes().startswith(b'%PDF')
    page = (folder / 'report.html').read_text()
    assert len(page) < 10e6
    # Nothing but what is in the file, whatever a browser would make of it.
    assert not re.search(r'(?:src|href)=["\'](?!data:|#)', page)
    assert not re.search(r'url\((?!#)|@import', page)


def test_the_matrix_is_that_of_the_metrics(evaluated, open_page):
    folder, metrics, _ = evaluated
    page = open_page(folder / 'report.html').page
    text = page.locator('#matrix tbody td').all_inner_texts()
    counts = np.array([int(x.replace(',', '') or 0) for x in text]).reshape(10, 10)
    assert counts.tolist() == metrics['confusion_matrix']
    for place in (cell(6, 0), cell(9, 9)):
        page.hover(place)
        label, predicted = re.findall(r'"(\d)"', place)
        count = metrics['confusion_matrix'][int(label)][int(predicted)]
        rate = count / metrics['per_class'][int(label)]['support']
        hint = page.locator('#hint').inner_text()
        assert hint.endswith(f': {count} ({100 * rate:.1f} %)')


def test_a_click_shows_the_very_images_of_a_cell(evaluated, open_page, dataset):
    folder, metrics, probabilities = evaluated
    images, labels = dataset.split('test[:500]')
    page = open_page(folder / 'report.html').page
    matrix = np.array(metrics['confusion_matrix'])
    confused = matrix - np.diag(np.diag(matrix))
    worst = np.unravel_index(confused.argmax(), confused.shape)
    for label, predicted in (worst, (1, 1)):
        page.click(cell(label, predicted))
        expected = np.flatnonzero(
            (labels == label) & (probabilities.argmax(1) == predicted)
        )
        assert len(expected) == matrix[label, predicted] > 0
        canvases = page.locator('#images-list canvas')
        canvases.nth(len(expected) - 1).wait_for()
        assert canvases.count() == len(expected)
        shown = [
            int(re.search(r'\d+', canvas.get_attribute('aria-label'))[0])
            for canvas in canvases.all()
        ]
        assert sorted(shown) == expected.tolist()
        # The least probable to be of their class first.
        assert (np.diff(probabilities[shown, label]) >= -1e-6).all()
        pixels = canvases.evaluate_all(
            """all => all.map(c => [...c.getContext('2d').getImageData(
               0, 0, c.width, c.height).data].filter((_, i) => i % 4 == 0))"""
        )
        for place, drawn in zip(shown, pixels, strict=True):
            np.testing.assert_array_equal(drawn, images[place].ravel())
        captions = page.locator('#images-list figcaption').all_inner_texts()
        for place, caption in zip(shown, captions, strict=True):
            for top in (*probabilities[place].argsort()[-2:], labels[place]):
                percent = f'{100 * probabilities[place, top]:.1f} %'
                if percent != '0.0 %' or top == labels[place]:
                    assert f'{dataset.class_names[top]} {percent}' in caption


def test_an_empty_cell_says_so(evaluated, open_page):
    folder, metrics, _ = evaluated
    label, predicted = np.argwhere(np.array(metrics['confusion_matrix']) == 0)[0]
    page = open_page(folder / 'report.html').page
    page.click(cell(label, predicted))
    assert page.locator('#images-note').inner_text() == 'No image is here.'
    assert page.locator('#images-list canvas').count() == 0


def test_the_keyboard_is_enough(evaluated, open_page):
    folder, metrics, _ = evaluated
    page = open_page(folder / 'report.html').page
    page.focus(cell(0, 0))
    for key in ('ArrowRight', 'ArrowRight', 'ArrowDown', 'ArrowLeft', 'Enter'):
        page.keyboard.press(key)
    assert page.locator('[aria-selected]').get_attribute('data-label') == '1'
    count = metrics['confusion_matrix'][1][1]
    page.locator('#images-list canvas').nth(count - 1).wait_for()
    # One stop of the tab key for the whole matrix.
    assert page.locator('#matrix [tabindex="0"]').count() == 1


@pytest.mark.parametrize('column', range(5))
def test_sorting_sorts(column, evaluated, open_page):
    folder, metrics, _ = evaluated
    page = open_page(folder / 'report.html').page
    key = ('name', 'precision', 'recall', 'f1', 'support')[column]
    values = [row[key] for row in metrics['per_class']]
    heading = page.locator('#per-class thead th').nth(column)

    def shown():
        texts = page.locator(f'#per-class tbody tr > :nth-child({column + 1})')
        return [x if key == 'name' else float(x) for x in texts.all_inner_texts()]

    digits = 0 if key == 'support' else 4
    expected = sorted(v if key == 'name' else round(v, digits) for v in values)
    if key == 'name':
        expected = sorted(expected, key=str.lower)
    for direction in ('ascending', 'descending'):
        heading.locator('button').click()
        assert heading.get_attribute('aria-sort') == direction
        assert (
            shown() == pytest.approx(expected) if key != 'name' else shown() == expected
        )
        expected = expected[::-1]
    assert page.locator('#per-class tfoot tr').count() == 2


def test_what_the_page_says_is_what_was_measured(evaluated, open_page, dataset):
    folder, metrics, probabilities = evaluated
    _, labels = dataset.split('test[:500]')
    text = open_page(folder / 'report.html').page.inner_text('main')
    low, high = metrics['accuracy_interval']
    assert f'{100 * metrics["accuracy"]:.2f} %' in text
    assert f'{100 * low:.2f} % to {100 * high:.2f} %' in text
    for value in ('loss', 'ece'):
        assert f'{metrics[value]:.4f}' in text
    assert '7,740' in text
    assert 'No: it shares no image with train[:640]' in text
    pair = metrics['most_confused'][0]
    support = metrics['per_class'][pair['label']]['support']
    name, other = (dataset.class_names[pair[key]] for key in ('label', 'predicted'))
    assert f'{pair["count"]} of {support} {name}' in text
    assert f'were taken for {other}' in text
    own = probabilities[np.arange(500), labels]
    own[probabilities.argmax(1) == labels] = 1
    assert f'#{own.argmin()}\nlabel {dataset.class_names[labels[own.argmin()]]}' in text


@pytest.mark.parametrize(
    ('split', 'words'),
    [
        ('train', 'Yes: the model was trained on 640 of its images'),
        ('validation', 'Yes: the checkpoint was chosen by its accuracy on 500'),
    ],
)
def test_a_split_that_chose_is_named(split, words, finished_run):
    metrics = evaluate(finished_run, split)
    assert metrics['selection']['words'].startswith(words)
    assert words in (finished_run / 'eval' / split / 'report.html').read_text()


def test_shared_examples_are_counted(dataset: Dataset):
    assert dataset.num_shared('train[:100]', ['train[90:200]']) == 10
    assert dataset.num_shared('train[-10:]', ['test[:10]']) == 0
    assert dataset.num_shared('test', ['train[:5]+test[:7]', 'test[6:9]']) == 9
    assert dataset.num_shared('train[50%:]', ['train']) == 30_000
    assert dataset.num_examples('train[50%:]+test[:3]') == 30_003


def test_the_page_fits_a_phone_and_paper(evaluated, open_page):
    folder, _, _ = evaluated
    page = open_page(
        folder / 'report.html', viewport={'width': 360, 'height': 740}
    ).page
    assert page.evaluate('document.documentElement.scrollWidth') <= 360


@pytest.mark.parametrize(
    'num_classes', [10, *(pytest.param(x, marks=pytest.mark.slow) for x in (20, 60))]
)
def test_nothing_is_cut_off_on_paper(num_classes, tmp_path, open_page):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (300, 8, 8, 1), np.uint8)
    labels = rng.integers(0, num_classes, 300)
    names = tuple(f'class number {label}' for label in range(num_classes))
    make_report(tmp_path, make_scored(images, labels, num_classes, names))
    # A4 at 96 dots an inch, within margins of 1 cm.
    page = open_page(
        tmp_path / 'report.html', viewport={'width': 718, 'height': 1000}
    ).page
    page.click('#matrix td[data-label]')
    page.emulate_media(media='print')
    assert page.locator('#hint').is_hidden()
    wide = page.locator('.scroll, .thumbs, main').evaluate_all(
        'all => all.filter(e => e.scrollWidth > e.clientWidth + 1)'
        '.map(e => e.outerHTML)'
    )
    assert not [html[:200] for html in wide]


def test_numbers_are_read_on_their_colours():
    """Contrast as WCAG 2.1 has it, level AA."""

    def luminance(color):
        linear = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
            for c in to_rgb(color)
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    colors, norm = color_scale()
    for rate in np.linspace(0, 1, 201):
        color = np.array(colors(norm(rate)))
        low, high = sorted([luminance(color), luminance(ink_on(color))])
        assert (high + 0.05) / (low + 0.05) >= 4.5


def test_what_is_read_out_is_short_and_true(evaluated, open_page):
    folder, metrics, _ = evaluated
    page = open_page(folder / 'report.html').page
    page.evaluate(
        """() => {
          window.said = [];
          for (const e of document.querySelectorAll('[aria-live]'))
            new MutationObserver(() => said.push(e.textContent)).observe(
              e, {childList: true, characterData: true, subtree: true});
        }"""
    )
    page.click(cell(1, 1))
    count = metrics['confusion_matrix'][1][1]
    page.locator('#images-list canvas').nth(count - 1).wait_for()
    said = page.evaluate('said')
    assert len(said) == 2
    assert said[0] == f'Trouser, recognised: {count}'
    assert said[1].startswith('In order of doubt')


def test_figures_have_text_alternatives(evaluated, open_page):
    folder, _, _ = evaluated
    page = open_page(folder / 'report.html').page
    images = page.locator('img, [role=img]')
    assert images.count() > 50
    for name in images.evaluate_all('all => all.map(e => e.alt ?? e.ariaLabel)'):
        assert name
    # An image within an image would be read twice.
    assert page.locator('svg').count() == page.locator('[role=img] svg').count()


def test_names_from_outside_are_only_text(tmp_path, open_page, dataset):
    """A class, a field and a folder may be called anything."""
    evil = '</script><script>alert(1)</script><img src=x onerror=alert(2)>'
    names = (evil, '"\'&<b>', '$\\frac{1}{0}$', '_{', '\u202e עברית 试 🎈', *'FGHIJ')
    images, labels = dataset.split('test[:300]')
    scored = make_scored(images, labels, names=names)
    provenance = PROVENANCE | {'data': {'name': evil, 'source': evil}}
    make_report(
        tmp_path,
        scored,
        run=evil,
        config=CONFIG | {'model.x': evil},
        provenance=provenance,
    )
    page = open_page(tmp_path / 'report.html').page
    page.click(cell(0, 0))
    page.locator('#images-list canvas').first.wait_for()
    assert page.locator('h1').inner_text().startswith(evil)
    assert evil in page.locator('#images-title').inner_text()
    assert page.locator('#per-class tbody th').all_inner_texts()[1] == '"\'&<b>'
    assert page.locator('img[src=x]').count() == 0


@pytest.mark.slow
def test_large_splits_show_some_images_and_say_so(tmp_path, open_page, dataset):
    images, labels = dataset.split('train[:24000]')
    scored = make_scored(images, labels)
    matrix = np.array(make_report(tmp_path, scored)['confusion_matrix'])
    assert matrix[3, 3] > 200
    page = open_page(tmp_path / 'report.html').page
    page.click(cell(3, 3))
    page.locator('#images-list canvas').nth(199).wait_for()
    assert page.locator('#images-list canvas').count() == 200
    count = f'{matrix[3, 3]:,}'
    assert page.locator('#images-note').inner_text().startswith(f'200 of {count}, ')
    assert (tmp_path / 'report.html').stat().st_size < 10e6


@pytest.mark.slow
def test_large_images_and_many_classes_stay_within_the_bounds(tmp_path, open_page):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3000, 100, 90, 3), np.uint8)
    labels = rng.integers(0, 60, 3000)
    metrics = make_report(tmp_path, make_scored(images, labels, num_classes=60))
    page = (tmp_path / 'report.html').read_text()
    assert len(page.encode()) < 10e6
    assert 'These are the 40 classes with the most mistakes, of 60' in page
    gallery = json.loads(re.search(r'id="gallery">(.*?)</script>', page)[1])
    assert (gallery['height'], gallery['width']) == (64, 58)
    # Not even one a cell fits: those of most images have theirs, the others say so.
    shown = {(c['label'], c['predicted']): c['total'] for c in gallery['cells']}
    labels_shown = {label for label, _ in shown}
    matrix = np.array(metrics['confusion_matrix'])
    assert all(len(c['index']) == 1 for c in gallery['cells'])
    assert len(shown) > 200
    assert {matrix[pair] for pair in shown} >= {matrix[x, x] for x in labels_shown}
    page = open_page(tmp_path / 'report.html').page
    places = page.locator('#matrix td[data-label]').evaluate_all(
        'all => all.filter(e => e.textContent)'
        '.map(e => [e.dataset.label, e.dataset.predicted])'
    )
    left_out = [p for p in places if (int(p[0]), int(p[1])) not in shown]
    page.click(cell(*left_out[0]))
    assert 'no room for its images' in page.locator('#images-note').inner_text()


@pytest.mark.slow
def test_all_images_of_a_test_split_are_in_the_page(tmp_path, dataset):
    images, labels = dataset.split('test')
    make_report(tmp_path, make_scored(images, labels))
    assert (tmp_path / 'report.html').stat().st_size < 10e6
    page = (tmp_path / 'report.html').read_text()
    gallery = json.loads(re.search(r'id="gallery">(.*?)</script>', page)[1])
    seen = np.concatenate([c['index'] for c in gallery['cells']])
    assert sorted(seen) == list(range(10_000))
    last = gallery['cells'][-1]
    sheet = decode(last['sheet'])
    for place in (0, len(last['index']) - 1):
        row, column = divmod(place, gallery['columns'])
        drawn = sheet[28 * row : 28 * row + 28, 28 * column : 28 * column + 28]
        np.testing.assert_array_equal(drawn, images[last['index'][place], ..., 0])


def test_the_best_epoch_and_the_onset_of_overfitting_are_told(tmp_path, dataset):
    scored = make_scored(*dataset.split('test[:100]'))
    make_report(tmp_path, scored)
    page = (tmp_path / 'report.html').read_text()
    assert 'overfitting from epoch 2' in page
    assert 'Validation loss is lowest after epoch 2' in page
    assert 'Validation accuracy is highest after epoch 1.' in page
    assert 'scored, 2' in page
    make_report(tmp_path, scored, lines=LINES[:4])
    assert 'No overfitting is seen' in (tmp_path / 'report.html').read_text()
    make_report(tmp_path, scored, lines=[])
    assert 'No epoch has ended yet' in (tmp_path / 'report.html').read_text()


def test_a_perfect_model_has_a_report(tmp_path, dataset):
    images, labels = dataset.split('test[:50]')
    log_probabilities = np.full((50, 10), -100, np.float32)
    log_probabilities[np.arange(50), labels] = 0
    make_report(tmp_path, Scored(images, labels.astype(int), log_probabilities, NAMES))
    page = (tmp_path / 'report.html').read_text()
    assert 'Nothing was misclassified.' in page
