"""Where published data lies: a folder given, or that of the environment."""

import os
from collections.abc import Sequence
from pathlib import Path

from seqjax.data._errors import DataError
from seqjax.data._text_file import AnyPath

DATA_DIR_VARIABLE = "SEQJAX_DATA_DIR"
"""Environment variable that names the folder of published data."""
PREPARED = "tensorflow_datasets"
"""What TFDS calls the folder of data that it has prepared."""


def find_data(task: str, names: Sequence[str], data_dir: AnyPath | None, source: str) -> Path:
    """Finds a file of published data.

    Args:
      task: who asks, for the message.
      names: paths and patterns that it may have, such as `fsdd/recordings/*.wav`; see `look_up`.
      data_dir: the folder; `SEQJAX_DATA_DIR` by default.
      source: where the data can be had, for the message.

    Returns:
      The path of the file; of several that fit a pattern the first.

    Raises:
      DataError: if no folder is given or it holds none of the names.
    """
    given = data_dir or os.environ.get(DATA_DIR_VARIABLE)
    if not given:
        raise DataError(
            f"{task}: the folder of the data must be given with --data_dir or "
            f"{DATA_DIR_VARIABLE}, got neither. It holds {names[0]}, published at {source}."
        )
    root = Path(given).expanduser()
    found = look_up(root, names)
    if found is None:
        raise DataError(
            f"{task}: --data_dir must hold {' or '.join(names)}, but {str(root)!r} "
            f"{'does not' if root.is_dir() else 'is not a folder'}. Published at {source}."
        )
    return found


def look_up(root: Path, names: Sequence[str]) -> Path | None:
    """Finds data in the folder above its own, in its own, or in one between the two.

    Args:
      root: the folder.
      names: paths and patterns below the folder above. Where `ett/ETTh1.csv` is looked for, so is
        `ETTh1.csv`.

    Returns:
      The first that exists, or None.

    Example:
      >>> import tempfile
      >>> root = Path(tempfile.mkdtemp())
      >>> (root / "ett").mkdir()
      >>> (root / "ett" / "ETTh1.csv").touch()
      >>> [look_up(each, ["ett/ETTh1.csv"]).name for each in (root, root / "ett")]
      ['ETTh1.csv', 'ETTh1.csv']
    """
    for name in names:
        parts = name.split("/")
        for above in range(len(parts)):
            for path in sorted(root.glob("/".join(parts[above:]))):
                return path
    return None


def find_prepared(root: Path, dataset: str) -> Path | None:
    """Finds the folder above a data set that TFDS has prepared.

    Args:
      root: that folder, one that holds it as `tensorflow_datasets`, or one inside the data set.
      dataset: name, configuration and version, such as `mnist/3.0.1`.

    Returns:
      The folder that TFDS calls `data_dir`, or None.
    """
    names = [f"{PREPARED}/{dataset}/dataset_info.json"]
    found = look_up(Path(os.path.abspath(root)), names)
    depth = dataset.count("/") + 1
    if found is None or found.parts[-depth - 1 : -1] != tuple(dataset.split("/")):
        return None  # it tells of another data set
    return found.parents[depth]


def prepared_folder(data_dir: AnyPath | None) -> Path:
    """Returns the folder given, or by default `TFDS_DATA_DIR`, then `~/tensorflow_datasets`."""
    given = data_dir or os.environ.get("TFDS_DATA_DIR") or f"~/{PREPARED}"
    return Path(given).expanduser()
