"""Where published data lies: a folder given, or that of the environment."""

import os
from pathlib import Path

from seqjax.data._errors import DataError

DATA_DIR_VARIABLE = "SEQJAX_DATA_DIR"
"""Environment variable that names the folder of published data."""
PREPARED = "tensorflow_datasets"
"""What TFDS calls the folder of data that it has prepared."""


def find_data(
    task: str, names: tuple[str, ...], data_dir: str | os.PathLike[str] | None, source: str
) -> Path:
    """Finds a file or folder of published data.

    Args:
      task: who asks, for the message.
      names: paths it may have below the folder, the first that exists being taken.
      data_dir: the folder; `SEQJAX_DATA_DIR` by default.
      source: where the data can be had, for the message.

    Returns:
      Its path.

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
    for name in names:
        if (root / name).exists():
            return root / name
    wanted = " or ".join(names)
    raise DataError(
        f"{task}: --data_dir must hold {wanted}, but {str(root)!r} "
        f"{'does not' if root.is_dir() else 'is not a folder'}. Published at {source}."
    )


def prepared_folder(data_dir: str | os.PathLike[str] | None) -> Path:
    """Returns the folder of data that TFDS has prepared; it need not be there.

    Args:
      data_dir: that folder, or one that holds it as `tensorflow_datasets`, so that one folder may
        have published data of all kinds; by default `TFDS_DATA_DIR`, then `~/tensorflow_datasets`.
    """
    given = data_dir or os.environ.get("TFDS_DATA_DIR") or f"~/{PREPARED}"
    root = Path(given).expanduser()
    return root / PREPARED if (root / PREPARED).is_dir() else root
