"""What is known about each data set before its files are read.

To add one of IDX files: a `DatasetSpec` here, its name in `_SPECS`, and, if a server
has it, the sizes and SHA-256 of the compressed files in checksums.tsv.
"""

import dataclasses
from collections.abc import Sequence

from fmnist_jax.errors import UserError, unknown_name

# TFDS adds some 40 bytes to it in the names of files, which may have 255.
_LONGEST_NAME = 200
# What else `sources.py` keeps in the data folder.
_OTHER_FOLDERS = ('downloads', 'packages')


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """A data set of IDX files.

    Attributes:
      name: as in `config.data.name`; also the TFDS name.
      url: where the four files are served, gzip-compressed; None if nowhere.
      package: the Debian/Ubuntu package that holds the four files, or None.
      package_folder: where that package puts them.
      class_names: one name a label, or None when they are not known.
      sha256: the checksum of each file's decompressed content, or None when any
        content will do.
    """

    name: str
    url: str | None = None
    package: str | None = None
    package_folder: str | None = None
    class_names: tuple[str, ...] | None = None
    sha256: dict[str, str] | None = None


# Xiao, Rasul, Vollgraf (2017), https://github.com/zalandoresearch/fashion-mnist, as
# released since 2017-08-31 (before, train and test overlapped).
FASHION_MNIST = DatasetSpec(
    name='fashion_mnist',
    url='http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/',
    package='dataset-fashion-mnist',
    package_folder='/usr/share/datasets/fashion-mnist',
    class_names=(
        'T-shirt/top',
        'Trouser',
        'Pullover',
        'Dress',
        'Coat',
        'Sandal',
        'Shirt',
        'Sneaker',
        'Bag',
        'Ankle boot',
    ),
    sha256={
        'train_images': (
            'c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888'
        ),
        'train_labels': (
            'bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9'
        ),
        'test_images': (
            '5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b'
        ),
        'test_labels': (
            '0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34'
        ),
    },
)

_SPECS = {spec.name: spec for spec in (FASHION_MNIST,)}


def get_spec(
    name: str, idx_dir: str | None, class_names: Sequence[str] | None
) -> DatasetSpec:
    """The data set called `name`; any name will do for a folder of one's own.

    Args:
      name: as in `config.data.name`.
      idx_dir: a folder of IDX files, or None.
      class_names: of data of one's own, or None.

    Raises:
      UserError: the name is not registered and no `idx_dir` says where its files are,
        it cannot be the name of a folder, or other class names are known for it.
    """
    names = None if class_names is None else tuple(class_names)
    if name in _SPECS:
        spec = _SPECS[name]
        if names not in (None, spec.class_names):
            raise UserError(
                f'data.class_names must be None for {name}, whose names are known '
                '(for data of your own, choose another --config.data.name)'
            )
        return spec
    if idx_dir is None:
        raise unknown_name('data.name', name, _SPECS)
    if (
        not name.isprintable()
        or not 0 < len(name.encode()) <= _LONGEST_NAME
        or name.startswith('.')
        or '/' in name
        or name in _OTHER_FOLDERS
    ):
        raise UserError(
            f'data.name must be the name of a folder (1 to {_LONGEST_NAME} printable '
            'characters without a slash, no dot first, and not '
            f'{" or ".join(_OTHER_FOLDERS)}), not {name!r}'
        )
    return DatasetSpec(name=name, class_names=names)
