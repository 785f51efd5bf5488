"""Handwritten digits a pixel at a time, in the order of the page or in a drawn one.

Reference: LeCun et al. (1998), Gradient-based learning applied to document recognition (the data);
Le et al. (2015), A simple way to initialize recurrent networks of rectified linear units (the
task).
"""

from pathlib import Path

import numpy as np

from seqjax._checks import check_optional_sizes
from seqjax._errors import first_line
from seqjax.data._data_dir import find_prepared, prepared_folder
from seqjax.data._errors import DataError
from seqjax.data._prepared import prepared_builder, quiet_tfds, records_of
from seqjax.data._sequences import Sequences, Splits, make_sequences
from seqjax.data._text_file import AnyPath

VERSION = "3.0.1"
NUM_CLASSES = 10
_VALIDATION = 5000  # the last of the training images
_COUNTS = {"train": 60_000, "test": 10_000}


def load_sequential_mnist(
    data_dir: AnyPath | None = None, *, permutation_seed: int | None = None
) -> Splits:
    """Loads MNIST as sequences of 784 pixels from data that TFDS has prepared.

    Args:
      data_dir: folder with `tensorflow_datasets/mnist/3.0.1`, or one on that path; by default
        `TFDS_DATA_DIR`, then `~/tensorflow_datasets`.
      permutation_seed: where given, every image is read in one order that is drawn from it
        (permuted MNIST); in the order of the page otherwise.

    Returns:
      Inputs (N, 784, 1), uint8; classes as targets, int32 (N,). 55,000 images to train, the other
      5,000 training images to validate, 10,000 to test.

    Raises:
      DataError: if the data is missing or damaged.

    Example:
      >>> load_sequential_mnist("tensorflow_datasets").test.inputs.shape  # doctest: +SKIP
      (10000, 784, 1)
    """
    where = "load_sequential_mnist"
    check_optional_sizes(where, at_least=0, permutation_seed=permutation_seed)
    given = prepared_folder(data_dir)
    root = find_prepared(given, f"mnist/{VERSION}")
    if root is None:
        raise DataError(
            f"mnist: {given} must hold mnist/{VERSION}, MNIST as TFDS prepares it, in array_record "
            "files, and does not. Give its folder with --data_dir, or prepare it where TensorFlow "
            'is installed: tfds.builder("mnist").download_and_prepare(file_format="array_record").'
        )
    order = np.arange(784)
    if permutation_seed is not None:
        order = np.random.default_rng(permutation_seed).permutation(784)
    try:
        train, test = (_read(root, split, order) for split in ("train", "test"))
    except (DataError, ImportError):
        raise
    except Exception as error:  # TFDS and array_record raise whatever their layers raise
        damaged = f"mnist: {root / 'mnist' / VERSION} is damaged: {first_line(error)}."
        raise DataError(f"{damaged} Copy it again.") from error
    everything = np.arange(len(train.inputs))
    return Splits(
        train.take(everything[:-_VALIDATION]), train.take(everything[-_VALIDATION:]), test
    )


def _read(root: Path, split: str, order: np.ndarray) -> Sequences:
    with quiet_tfds():
        source = prepared_builder(f"mnist:{VERSION}", root).as_data_source(split=split)
        if len(source) != _COUNTS[split]:
            raise DataError(
                f"mnist: {root / 'mnist' / VERSION} must hold {_COUNTS[split]} {split} images, got "
                f"{len(source)}. Copy it again."
            )
        images = np.empty((len(source), 784), np.uint8)
        labels = np.empty(len(source), np.int32)
        for row, record in enumerate(records_of(source)):
            images[row], labels[row] = record["image"].reshape(784), record["label"]
    return make_sequences(images[:, order, None], labels)
