"""Prediction of image files: against `evaluate`, and as a user runs it."""

import dataclasses
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from etils import epath
from PIL import Image

from fmnist_jax.data import image_paths
from fmnist_jax.errors import UnreadableFilesError, UserError
from fmnist_jax.reporting.figures.predictions import MAX_IMAGES, predictions_figure
from fmnist_jax.reporting.metrics import top_classes
from fmnist_jax.reporting.predictions import Prediction, to_json, to_table
from fmnist_jax.training import trained
from fmnist_jax.training.evaluation.evaluate import evaluate
from fmnist_jax.training.evaluation.prediction import classify, predict
from fmnist_jax.training.exporting.export import export
from tests.conftest import run_script
from tests.mistakes import assert_fails

NAMES = ('T-shirt/top', 'Trouser', 'Pullover', 'Dress', 'Coat')
NAMES += ('Sandal', 'Shirt', 'Sneaker', 'Bag', 'Ankle boot')


@pytest.fixture(scope='module')
def evaluated(finished_run) -> np.ndarray:
    """The probabilities that `evaluate` writes, of the run's 500 test images."""
    evaluate(finished_run, 'test')
    with np.load(finished_run / 'eval' / 'test' / 'predictions.npz') as file:
        return file['probabilities']


@pytest.fixture(scope='module')
def model(finished_run) -> trained.TrainedModel:
    """The run's best."""
    return trained.load(epath.Path(finished_run))


@pytest.fixture
def run(finished_run, model, monkeypatch) -> Path:
    """The run, of which the best model is compiled once for all tests."""

    def load(workdir, checkpoint, _note):
        assert (workdir, checkpoint) == (epath.Path(finished_run), 'best')
        return model

    monkeypatch.setattr(trained, 'load', load)
    return finished_run


@pytest.fixture(scope='module')
def test_images(dataset) -> np.ndarray:
    return dataset.arrays['test_images'][:500, :, :, 0]


@pytest.fixture
def folder(tmp_path, test_images) -> Path:
    """Three good files, and two that are none."""
    folder = tmp_path / 'images'
    folder.mkdir()
    for i, name in enumerate(('0.png', '1.bmp', '3.png')):
        Image.fromarray(test_images[i]).save(folder / name)
    (folder / '2.png').write_bytes(b'text')
    (folder / '4.png').write_bytes((folder / '3.png').read_bytes()[:200])
    return folder


@dataclasses.dataclass(frozen=True)
class FakeModel:
    """Gives every image the same probabilities; keeps the images."""

    image_shape: tuple[int, int, int] = (28, 28, 1)
    class_names: tuple[str, ...] = ('cat', 'dog')
    result: tuple[float, ...] = (0.25, 0.75)
    seen: list[np.ndarray] = dataclasses.field(default_factory=list)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        self.seen.append(images)
        return np.tile(np.float32(self.result), (len(images), 1))


def strict_json(text: str):
    def refuse(constant):
        raise AssertionError(f'{constant} is not JSON')

    return json.loads(text, parse_constant=refuse)


def test_test_images_as_files_are_classified_as_evaluate_does(
    model, evaluated, test_images, tmp_path
):
    for i, pixels in enumerate(test_images):
        if i % 2:
            Image.fromarray(pixels).save(tmp_path / f'{i:03}.png')
        else:
            # What a shop would show.
            light = Image.fromarray(255 - pixels).convert('RGB')
            light.save(tmp_path / f'{i:03}.tiff')
    found = image_paths.find([str(tmp_path)])
    predictions = classify(model, found)
    assert [p.file for p in predictions] == [file for file, _ in found]
    probabilities = np.stack([p.probabilities for p in predictions])
    np.testing.assert_array_equal(probabilities, evaluated)


def test_few_files_are_classified_as_evaluate_does(run, evaluated, folder, capsys):
    with pytest.raises(UnreadableFilesError):
        predict([str(folder)], run, as_json=True)
    rows = strict_json(capsys.readouterr().out)
    probabilities = [row['probabilities'] for row in rows if 'label' in row]
    np.testing.assert_allclose(probabilities, evaluated[:3], atol=1e-6)


def test_an_exported_model_classifies_as_its_run(
    finished_run, evaluated, folder, tmp_path, capsys
):
    export(finished_run, tmp_path / 'model.stablehlo')
    capsys.readouterr()
    predict(
        [str(folder / '[013].*')],
        exported=tmp_path / 'model.stablehlo',
        as_json=True,
    )
    rows = strict_json(capsys.readouterr().out)
    assert [row['name'] for row in rows] == [NAMES[p.argmax()] for p in evaluated[:3]]
    probabilities = [row['probabilities'] for row in rows]
    np.testing.assert_allclose(probabilities, evaluated[:3], atol=1e-5)


def test_the_script_prints_json_and_nothing_else(finished_run, evaluated, folder):
    figure = folder.parent / 'figure.png'
    # Flags may stand behind the images.
    flags = (f'--workdir={finished_run}', '--json', f'--figure={figure}')
    done = run_script('fmnist_jax.predict', str(folder), 'nowhere/*.png', *flags)
    assert_fails(done, '3 of 6 files could not be read', str(folder), exit_code=4)
    rows = strict_json(done.stdout)
    files = [f'{folder}/{n}' for n in ('0.png', '1.bmp', '2.png', '3.png', '4.png')]
    assert [row['file'] for row in rows] == [*files, 'nowhere/*.png']
    good = [rows[i] for i in (0, 1, 3)]
    for row, expected in zip(good, evaluated, strict=False):
        assert list(row) == ['file', 'label', 'name', 'probabilities']
        assert row['label'] == expected.argmax()
        assert row['name'] == NAMES[row['label']]
        # On another number of devices.
        np.testing.assert_allclose(row['probabilities'], expected, atol=1e-5)
    for i in (2, 4, 5):
        assert list(rows[i]) == ['file', 'error']
        assert f'{rows[i]["file"]}: {rows[i]["error"]}' in done.stderr.splitlines()
    with Image.open(figure) as image:
        image.load()


def test_a_table_is_printed_and_nothing_else(finished_run, evaluated, folder, capsys):
    files = [str(folder / name) for name in ('0.png', '1.bmp')]
    capsys.readouterr()
    predict(files, finished_run)
    out, err = capsys.readouterr()
    assert err == ''
    header, line, *rows = out.splitlines()
    assert header.split('  ')[0] == 'file'
    assert set(line) == {'-'}
    assert len(rows) == 2
    for row, file, expected in zip(rows, files, evaluated, strict=False):
        top = np.argsort(-expected)[:3]
        cells = [f'{NAMES[label]} {100 * expected[label]:.1f} %' for label in top]
        assert ' '.join(row.split()) == ' '.join([file, *cells])


def test_a_bad_file_does_not_hide_the_others(run, folder, capsys):
    with pytest.raises(UnreadableFilesError, match='2 of 5 files') as caught:
        predict([str(folder)], run)
    assert caught.value.exit_code == 4
    assert str(folder / '2.png') in str(caught.value)
    out, err = capsys.readouterr()
    table = [line.split()[0] for line in out.splitlines()[2:]]
    assert table == [str(folder / name) for name in ('0.png', '1.bmp', '3.png')]
    assert f'{folder}/2.png: no PNG, JPEG' in err
    assert f'{folder}/4.png: damaged: ' in err


@pytest.mark.parametrize('as_json', [False, True])
def test_with_no_readable_image_nothing_is_classified(run, folder, capsys, as_json):
    figure = folder.parent / 'figure.png'
    with pytest.raises(UnreadableFilesError, match='2 of 2 files'):
        predict(
            [str(folder / '2.png'), 'nowhere.png'],
            run,
            as_json=as_json,
            figure=figure,
        )
    out, err = capsys.readouterr()
    if as_json:
        assert [list(row) for row in strict_json(out)] == [['file', 'error']] * 2
    else:
        assert out == ''
    assert 'nowhere.png: no such file or folder\n' in err
    assert 'no figure' in err
    assert not figure.exists()


def test_strange_names_are_printed_without_harm(
    run, test_images, tmp_path, capfdbinary
):
    raw = os.fsencode(tmp_path) + b'/\xff\x1b[31m\n"$x$<b>.png'
    with open(raw, 'wb') as file:
        Image.fromarray(test_images[0]).save(file, 'PNG')
    figure = tmp_path / 'figure.svg'
    for as_json in (True, False):
        with pytest.raises(UnreadableFilesError) as caught:
            predict(
                [os.fsdecode(raw), 'gone\x1b[31m\x07.png'],
                run,
                as_json=as_json,
                figure=figure,
            )
        out, err = capfdbinary.readouterr()
        for text in (out, err, str(caught.value).encode()):
            assert b'\x1b' not in text
            assert b'\x07' not in text
        if as_json:
            rows = strict_json(out.decode())
            assert os.fsencode(rows[0]['file']) == raw
        else:
            assert len(out.splitlines()) == 3
    texts = ''.join(ElementTree.fromstring(figure.read_text()).itertext())
    assert r'\x1b[31m\n"$x$<b>.png' in texts
    assert 'Ankle boot' in texts


def test_of_equally_probable_classes_the_first_come_first():
    assert top_classes(np.array([0.1, 0.4, 0.1, 0.4]), 3) == [1, 3, 0]
    assert top_classes(np.log([0.25, 0.75]), 3) == [1, 0]


def test_strange_class_names_are_printed_without_harm():
    prediction = Prediction('a.png', None, None, np.array([0.25, 0.75]))
    names = ('\x1b[31m', 'x\ny')
    header, _, row = to_table([prediction], names).splitlines()
    assert header.split('  ')[-1] == 'second'
    assert row.split() == ['a.png', r'x\ny', '75.0', '%', r'\x1b[31m', '25.0', '%']
    (entry,) = strict_json(to_json([prediction], names))
    assert entry == {
        'file': 'a.png',
        'label': 1,
        'name': 'x\ny',
        'probabilities': [0.25, 0.75],
    }


# --- Mistakes that are told before anything is done.

# Arguments of `predict`, of which the model comes last, and what must be said.
MISTAKES = {
    'no model': ({}, 'either --workdir (a run) or --model'),
    'two models': ({'workdir': 'a', 'exported': 'b'}, 'either --workdir (a run) or'),
    'checkpoint of an exported model': (
        {'exported': 'b', 'checkpoint': 'last'},
        '--checkpoint goes with --workdir',
    ),
    'no run': ({'workdir': 'nowhere'}, 'config.json is missing'),
    'no exported model': ({'exported': 'nowhere'}, 'nowhere'),
    'figure of no kind': ({'figure': 'figure'}, 'must end in .png or .svg or .pdf'),
    'figure of another kind': ({'figure': 'f.jpeg'}, '--figure=f.jpeg must end in'),
    'figure that is a folder': ({'figure': 'folder.png'}, 'is a folder'),
    'figure in a file': ({'figure': 'image.png/f.png'}, 'cannot write to image.png: '),
    'figure over an image': ({'figure': './image.png'}, 'would overwrite one of the'),
}


@pytest.mark.parametrize('case', MISTAKES)
def test_a_mistake_is_told_in_one_line(tmp_path, monkeypatch, case, capsys):
    arguments, part = MISTAKES[case]
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'folder.png').mkdir()
    Image.new('L', (28, 28)).save('image.png')
    before = (tmp_path / 'image.png').read_bytes()
    with pytest.raises(UserError) as caught:
        predict(['image.png'], **arguments)
    assert caught.value.exit_code == 2
    assert part in str(caught.value)
    assert '\n' not in str(caught.value)
    assert capsys.readouterr().out == ''
    assert (tmp_path / 'image.png').read_bytes() == before


@pytest.mark.parametrize(
    ('arguments', 'part'),
    [
        (['--workdir=nowhere'], 'IMAGE... is missing'),
        (['--workdir=nowhere', '--invert=maybe', 'a.png'], '--invert=maybe'),
        (['a.png'], '--workdir'),
    ],
)
def test_a_mistake_in_the_flags_ends_the_script_with_one_line(arguments, part):
    done = run_script('fmnist_jax.predict', *arguments)
    assert_fails(done, part)
    assert done.stdout == ''


def test_a_checkpoint_is_chosen(finished_run, test_images, folder, capsys):
    file = str(folder / '0.png')
    results = {}
    for checkpoint in ('last', '10'):
        predict([file], finished_run, checkpoint, as_json=True)
        (row,) = strict_json(capsys.readouterr().out)
        results[checkpoint] = row['probabilities']
    last = trained.load(epath.Path(finished_run), '20')
    (expected,) = last.probabilities(test_images[:1, :, :, None])
    np.testing.assert_allclose(results['last'], expected, atol=1e-6)
    assert np.abs(results['10'] - expected).max() > 1e-3
    with pytest.raises(UserError, match='no checkpoint 7 '):
        predict([file], finished_run, '7')


# --- Other models.


def find(paths: Sequence[Path]) -> list[tuple[str, str | None]]:
    return image_paths.find(list(map(str, paths)))


def test_a_model_of_colour_images_sees_colours(tmp_path):
    color = np.random.default_rng(0).integers(0, 256, (30, 20, 3), dtype=np.uint8)
    Image.fromarray(color).save(tmp_path / 'color.png')
    Image.fromarray(color[..., 0]).save(tmp_path / 'grey.png')
    model = FakeModel(image_shape=(30, 20, 3))
    first, second = classify(model, find([tmp_path]))
    np.testing.assert_array_equal(model.seen[0][0], color)
    np.testing.assert_array_equal(model.seen[0][1], np.stack([color[..., 0]] * 3, -1))
    np.testing.assert_array_equal(first.image, color)
    assert second.top() == [(1, 0.75), (0, 0.25)]


def test_a_model_that_files_cannot_serve_is_told(folder):
    with pytest.raises(UserError, match='images of 4 channels'):
        classify(FakeModel(image_shape=(28, 28, 4)), find([folder]))
    with pytest.raises(UserError, match='not finite'):
        classify(FakeModel(result=(np.nan, 1.0)), find([folder]))


# --- The figure.


def predictions_of(images: np.ndarray) -> list[Prediction]:
    rng = np.random.default_rng(0)
    return [
        Prediction(f'{i}.png', None, image, rng.dirichlet(np.ones(10)))
        for i, image in enumerate(images[..., None])
    ]


def test_the_figure_shows_the_images_with_their_most_probable_classes(test_images):
    predictions = predictions_of(test_images[:5])
    unreadable = Prediction('bad.png', 'damaged')
    figure = predictions_figure([unreadable, *predictions], NAMES)
    drawn = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title(loc='left') for axes in drawn] == [
        f'{i}.png' for i in range(5)
    ]
    for axes, prediction in zip(drawn, predictions, strict=True):
        shown = axes.images[0].get_array()
        np.testing.assert_array_equal(shown, prediction.image[..., 0])
        bars = figure.axes[figure.axes.index(axes) + 1]
        top = np.argsort(-prediction.probabilities)[:3]
        assert [text.get_text().split('  ') for text in bars.get_yticklabels()] == [
            [NAMES[i], f'{100 * prediction.probabilities[i]:.1f} %'] for i in top
        ]
        # After those of the whole.
        lengths = [bar.get_width() for bar in bars.patches[3:]]
        assert lengths == pytest.approx(prediction.probabilities[top])


def test_the_figure_of_many_images_says_how_many_it_shows(test_images):
    figure = predictions_figure(predictions_of(test_images[:412]), NAMES)
    assert sum(len(axes.images) for axes in figure.axes) == MAX_IMAGES
    assert f'the first {MAX_IMAGES} of 412' in figure.get_suptitle()


@pytest.mark.parametrize('kind', ['png', 'svg', 'PDF'])
def test_the_figure_is_of_the_kind_that_its_name_says(run, folder, kind, capsys):
    path = folder.parent / 'new' / f'figure.{kind}'
    # A sign that Matplotlib's font lacks.
    (folder / '0.png').rename(folder / '\u886b.png')
    predict([str(folder / '\u886b.png')], run, figure=path)
    out, err = capsys.readouterr()
    assert err == f'figure: {path}\n'
    assert '\u886b.png' in out
    content = path.read_bytes()
    if kind == 'png':
        with Image.open(io.BytesIO(content)) as image:
            assert image.format == 'PNG'
            assert image.width > 400
            # Neither blank nor black.
            assert np.asarray(image.convert('L')).std() > 10
    elif kind == 'svg':
        texts = ''.join(ElementTree.fromstring(content).itertext())
        assert '\u886b.png' in texts
    else:
        assert content.startswith(b'%PDF-')
        assert content.rstrip().endswith(b'%%EOF')
