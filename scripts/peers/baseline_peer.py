"""An earlier commit of seqjax, by the same path as ours; `--baseline` says where its folder is."""

import subprocess
from pathlib import Path

import seqjax
from peers import seqjax_peer

CELLS = seqjax_peer.CELLS
start, build = seqjax_peer.start, seqjax_peer.build


def commit(folder: Path) -> str:
    """Returns the commit of a checkout, or the version of what is no checkout."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return seqjax.__version__


VERSIONS = {"baseline": commit(Path(seqjax.__file__).parents[1])}
