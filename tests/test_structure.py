"""The house: heavy libraries in their one room, imports never turning back."""

import ast
from pathlib import Path

from tests.conftest import ROOT

PACKAGE = ROOT / 'fmnist_jax'
# Where each heavy library may be imported.
ROOMS = {
    'orbax': {'training/checkpoint.py'},
    'tensorflow_datasets': {'data/builder.py', 'data/dataset.py'},
    'tensorboard': {'reporting/tensorboard.py'},
    'tensorflow': set(),
    'torch': set(),
}
# The way through the house: each may import those before it.
ORDER = (
    'errors',
    'cloud',
    'stopping',
    'workdir',
    'locking',
    'config_fields',
    'config',
    'grid',
    'reporting',
    'data',
    'kernels',
    'models',
    'training',
)


def imports(path: Path) -> set[str]:
    """The modules that a file imports anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f'{node.module}.{alias.name}' for alias in node.names}
    return found


def test_heavy_libraries_stay_in_their_room():
    for library, rooms in ROOMS.items():
        users = {
            path.relative_to(PACKAGE).as_posix()
            for path in PACKAGE.rglob('*.py')
            if any(name.split('.')[0] == library for name in imports(path))
        }
        assert users == rooms, library


def test_pmap_is_known_to_one_module():
    users = [p.name for p in PACKAGE.rglob('*.py') if 'jax.pmap' in p.read_text()]
    assert users == ['parallel.py']


def test_imports_never_turn_back():
    for number, room in enumerate(ORDER):
        folder = PACKAGE / room
        files = folder.rglob('*.py') if folder.is_dir() else [PACKAGE / f'{room}.py']
        allowed = ORDER[: number + 1]
        for path in files:
            for name in imports(path):
                parts = name.split('.')
                if parts[0] == 'fmnist_jax' and len(parts) > 1:
                    assert parts[1] in (*allowed, '__version__'), (path.name, name)


def test_what_trains_knows_nothing_of_the_rooms_beside_it():
    """Evaluation, sweeps and the like stand on it, and on those before them alone."""
    order = ('exporting', 'evaluation', 'lr_range_test', 'sweep', 'ahead_of_time')
    folders = [path.name for path in (PACKAGE / 'training').iterdir() if path.is_dir()]
    assert {name for name in folders if not name.startswith('_')} == set(order)
    for path in (PACKAGE / 'training').rglob('*.py'):
        room = path.parent.name
        allowed = order[: order.index(room) + 1] if room in order else ()
        for name in imports(path):
            parts = name.split('.')
            if parts[:2] == ['fmnist_jax', 'training'] and parts[2] in order:
                assert parts[2] in allowed, (path.name, name)
