"""Image files, found by name, folder or pattern: links, hidden ones, odd names."""

import os
from pathlib import Path

import pytest

from fmnist_jax.data import image_paths


def names(found: list[tuple[str, str | None]], folder: Path) -> list[str]:
    assert all(problem is None for _, problem in found)
    return [os.path.relpath(file, folder) for file, _ in found]


@pytest.fixture
def folder(tmp_path) -> Path:
    files = (
        'b.PNG',
        'a.jpeg',
        'c.txt',
        '.hidden.png',
        '._a.jpeg',
        'sub/d.png',
        'e.tif',
    )
    for name in (*files, 'sub/f.gif', 'shirt[1].png'):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b'')
    (tmp_path / 'folder.png').mkdir()
    return tmp_path


def test_a_folder_stands_for_the_image_files_in_it_by_name(folder):
    found = image_paths.find([str(folder)])
    assert names(found, folder) == ['a.jpeg', 'b.PNG', 'e.tif', 'shirt[1].png']


def test_a_named_file_is_tried_whatever_it_is_called(folder):
    files = [f'{folder}/c.txt', f'{folder}/.hidden.png', f'{folder}/shirt[1].png']
    assert image_paths.find(files) == [(file, None) for file in files]


def test_patterns_give_files_by_name(folder):
    found = image_paths.find([f'{folder}/*.png'])
    assert names(found, folder) == ['shirt[1].png']
    found = image_paths.find([f'{folder}/**/*.[pg]*'])
    assert names(found, folder) == ['shirt[1].png', 'sub/d.png', 'sub/f.gif']


@pytest.mark.parametrize(
    ('pattern', 'expected'),
    [
        ('**/*.gif', ['sub/f.gif', 'sub/loop/g.gif']),
        ('**', ['a.jpeg', 'sub/f.gif']),
        ('sub/**/g.gif', ['sub/loop/g.gif']),
        ('**/s*/**/*.g*f', ['sub/f.gif', 'sub/loop/g.gif']),
        ('sub/../**/f.gif', ['sub/../sub/f.gif']),
        ('**/.h*', ['.hidden.png']),
        ('.dots/**/*.gif', ['.dots/h.gif']),
        ('**/.d*/*', ['.dots/h.gif']),
    ],
)
def test_patterns_go_down_but_not_round(folder, pattern, expected, monkeypatch):
    (folder / 'sub' / 'loop').mkdir()
    (folder / '.dots').mkdir()
    for name in ('sub/loop/g.gif', '.dots/h.gif', 'sub/**.png'):
        (folder / name).write_bytes(b'')
    # Two ways round at each level: 2 to the power of 40 paths.
    for name in ('round', 'sub/loop/up', 'sub/loop/again'):
        (folder / name).symlink_to(folder)
    found = image_paths.find([f'{folder}/{pattern}'])
    got = [file[len(str(folder)) + 1 :] for file, _ in found]
    assert set(expected) <= set(got)
    if pattern != '**':
        assert got == expected
    assert len(got) == len({os.path.realpath(folder / name) for name in got})
    monkeypatch.chdir(folder)
    relative = [file for file, _ in image_paths.find([pattern])]
    assert relative == got


def test_a_file_is_named_once_where_it_is_named_first(folder, monkeypatch):
    monkeypatch.chdir(folder)
    arguments = ['sub/d.png', 'sub', './sub/d.png', str(folder / 'sub' / 'f.gif')]
    assert image_paths.find(arguments) == [('sub/d.png', None), ('sub/f.gif', None)]


def test_an_argument_without_files_does_not_hide_the_others(folder):
    (folder / 'empty').mkdir()
    arguments = ['empty', 'missing.png', '*.webp', 'e.tif', '']
    found = image_paths.find([a and f'{folder}/{a}' for a in arguments])
    assert [problem and problem.split(' (')[0] for _, problem in found] == [
        'no image file in this folder',
        'no such file or folder',
        'no file matches this pattern',
        None,
        'no such file or folder',
    ]
    assert found[1][0] == f'{folder}/missing.png'


def test_the_home_folder_is_found_where_the_shell_does_not(folder, monkeypatch):
    monkeypatch.setenv('HOME', str(folder))
    for argument in ('~/sub/*.gif', '~/sub/f.gif'):
        found = image_paths.find([argument])
        assert names(found, folder) == ['sub/f.gif']
    assert names(image_paths.find(['~/sub']), folder) == ['sub/d.png', 'sub/f.gif']
    ((file, problem),) = image_paths.find(['~/gone.png'])
    assert (file, problem) == ('~/gone.png', 'no such file or folder')
    # A file that has this name.
    monkeypatch.chdir(folder)
    Path('~').mkdir()
    Path('~/sub').write_bytes(b'')
    assert image_paths.find(['~/sub']) == [('~/sub', None)]


def test_a_name_that_is_not_utf_8_is_found(tmp_path):
    (Path(os.fsdecode(bytes(tmp_path) + b'/\xff.png'))).write_bytes(b'')
    ((file, problem),) = image_paths.find([str(tmp_path)])
    assert os.fsencode(file) == bytes(tmp_path) + b'/\xff.png'
    assert problem is None
