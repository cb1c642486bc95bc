"""The TFDS builder: IDX arrays to ArrayRecord files and back, without TensorFlow.

TFDS needs no TensorFlow as long as a builder does not use `tf.io` and images are a
`Tensor` feature (the `Image` feature encodes PNG with TensorFlow).
"""

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from fmnist_jax.data.folder import IdxFiles

VERSION = '1.0.0'


class IdxDataset(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A data set of IDX files; record i of a split is image i of its file."""

    VERSION = tfds.core.Version(VERSION)

    def __init__(
        self,
        *,
        name: str,
        data_dir: epath.PathLike,
        class_names: tuple[str, ...],
        image_shape: tuple[int, int, int],
        config: str | None,
        found: IdxFiles,
    ):
        self.name = name
        self._class_names = class_names
        self._image_shape = image_shape
        self._found = found
        builder_config = config and tfds.core.BuilderConfig(name=config)
        # TFDS warns of a config that it does not find among its class's.
        self.get_builder_config = lambda *_, **__: builder_config
        super().__init__(
            data_dir=data_dir,
            config=builder_config,
            file_format='array_record',
        )

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=f'{self.name}: record i is image i of the IDX file.',
            features=tfds.features.FeaturesDict(
                {
                    'image': tfds.features.Tensor(
                        shape=self._image_shape, dtype=np.uint8
                    ),
                    'label': tfds.features.ClassLabel(names=self._class_names),
                }
            ),
            supervised_keys=('image', 'label'),
            # TFDS would shuffle the records while preparing them otherwise.
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager) -> dict[str, Any]:
        del dl_manager  # The files were fetched and checked before: sources.py.
        return {split: self._generate_examples(split) for split in ('train', 'test')}

    def label_dtype(self, split: str) -> np.dtype:
        """How the IDX file stores labels; in TFDS they are int64."""
        return self._found.arrays[f'{split}_labels'].dtype

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        images = self._found.arrays[f'{split}_images']
        labels = self._found.arrays[f'{split}_labels']
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield i, {'image': image, 'label': int(label)}


def prepare_and_decode(builder: IdxDataset) -> dict[str, np.ndarray]:
    """Prepares the data set and reads all the records back.

    Returns:
      Arrays named, shaped and of element types as in `IdxFiles`.
    """
    tfds.disable_progress_bar()
    # TFDS announces sizes it does not know; the caller has said what is going on.
    with contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare()
    arrays = {}
    for split in ('train', 'test'):
        source = builder.as_data_source(split=split)
        records = source.__getitems__(range(len(source)))
        arrays[f'{split}_images'] = np.stack([r['image'] for r in records])
        arrays[f'{split}_labels'] = np.array(
            [r['label'] for r in records], builder.label_dtype(split)
        )
    return arrays
