"""S3's vgg_like with altered images in TensorFlow 2.1.0, as its notebook printed.

With S3's own split, too: scikit-learn's of random_state 42, of each image's two copies
followed by itself, image by image. Alone, without the rest of this project, since that
TensorFlow needs Python 3.7; Intel's build is much faster on a CPU than Google's:

    pip install intel-tensorflow==2.1.0 protobuf==3.20.3 scikit-learn==0.22.2
    python results/reproduction/in_tensorflow_2_1.py IDX_FOLDER SEED

where IDX_FOLDER holds the data set's four files as they are downloaded. What
frameworks.py describes is kept in
`results/runs/in_tensorflow_2_1/keras_cnns-vgg_like_leaking/seedSEED.json`.
"""

import gzip
import json
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from sklearn.model_selection import train_test_split

_EPOCHS = 10
_COPIES = 2
_RESULTS = Path(__file__).parents[1]
_ROW = 'in_tensorflow_2_1/keras_cnns-vgg_like_leaking'
_layers = tf.keras.layers


def main(folder, seed):
    """Trains, and keeps what came out.

    Args:
      folder: of the IDX files.
      seed: of NumPy's and TensorFlow's random numbers; S3 set none.
    """
    path = _RESULTS / 'runs' / _ROW / f'seed{seed}.json'
    if path.exists():
        sys.exit(f'{path} is there')
    np.random.seed(seed)
    tf.random.set_seed(seed)
    test = _read(folder, 't10k')
    training, validation = _divide(*_with_copies(*_read(folder, 'train')))
    model = tf.keras.Sequential(_vgg_like())
    model.compile('adam', 'sparse_categorical_crossentropy', metrics=['accuracy'])
    describe = ['git', 'describe', '--always', '--abbrev=40', '--dirty', '--exclude=*']
    commit = subprocess.check_output(describe, cwd=_RESULTS)
    values = {
        'seed': seed,
        'git_commit': commit.decode().strip(),
        'python': platform.python_version(),
        'tensorflow': tf.__version__,
        'numpy': np.__version__,
        'epochs': [],
    }
    for _ in range(_EPOCHS):
        history = model.fit(*training, batch_size=250, epochs=1, verbose=0).history
        figures = _named('train', history['loss'][0], history['accuracy'][0])
        for split, arrays in (('validation', validation), ('test', test)):
            figures.update(
                _named(split, *model.evaluate(*arrays, batch_size=250, verbose=0))
            )
        values['epochs'].append(figures)
        print(figures, flush=True)
    values['finished'] = time.strftime('%Y-%m-%d')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=2) + '\n')
    print('kept:', path)


def _vgg_like():
    def convolution(features, **arguments):
        return (
            _layers.Conv2D(features, 3, padding='same', **arguments),
            _layers.Activation('relu'),
            _layers.BatchNormalization(),
        )

    return [
        *convolution(32, input_shape=(28, 28, 1)),
        *convolution(32),
        _layers.MaxPooling2D(),
        _layers.Dropout(0.25),
        *convolution(64),
        *convolution(64),
        _layers.MaxPooling2D(),
        _layers.Dropout(0.25),
        _layers.Flatten(),
        _layers.Dense(512),
        _layers.Activation('relu'),
        _layers.BatchNormalization(),
        _layers.Dropout(0.5),
        _layers.Dense(10, activation='softmax'),
    ]


def _read(folder, split):
    """Pixels from 0 to 1, [n, 28, 28, 1], and classes [n]."""
    arrays = []
    for name, header in (('images-idx3', 16), ('labels-idx1', 8)):
        content = (folder / f'{split}-{name}-ubyte.gz').read_bytes()
        arrays.append(np.frombuffer(gzip.decompress(content), np.uint8, offset=header))
    images, labels = arrays
    return images.reshape(-1, 28, 28, 1) / 255.0, labels.astype(np.int32)


def _with_copies(images, labels):
    """Of each image two altered copies, as S3 makes them, then the image itself."""
    generator = tf.keras.preprocessing.image.ImageDataGenerator(
        rotation_range=10, horizontal_flip=True, fill_mode='nearest'
    )
    versions = np.empty((len(images), _COPIES + 1, *images.shape[1:]), np.float32)
    for image, rows in zip(images, versions):  # noqa: B905 - Python 3.7 has no `strict`.
        rows[:_COPIES] = [generator.random_transform(image) for _ in range(_COPIES)]
        rows[_COPIES] = image
    return versions.reshape(-1, *images.shape[1:]), np.repeat(labels, _COPIES + 1)


def _divide(images, labels):
    """The images to train on and those to validate on, each with their classes."""
    arrays = train_test_split(images, labels, test_size=0.2, random_state=42)
    return tuple(arrays[::2]), tuple(arrays[1::2])


def _named(split, loss, accuracy):
    return {
        split + '_loss': float(loss),
        split + '_accuracy': 100 * float(accuracy),
    }


if __name__ == '__main__':
    main(Path(sys.argv[1]), int(sys.argv[2]))
