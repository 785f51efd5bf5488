"""Counts the cases of the test suite that run a cell of the table: cell x executor x suite.

    python scripts/count_cases.py

A case is a collected test, slow and extended ones too, with a row of tests/cell_table.py among its
parameters. A suite is a test function. Nothing is run.
"""

import contextlib
import io
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("cells", "unroll", "transforms", "nn", "gradflow", "online")


class Collector:
    """Keeps what pytest has collected."""

    def __init__(self):
        self.items: list[pytest.Item] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Is called by pytest."""
        self.items = list(session.items)


def main() -> None:
    """Collects every file, and prints the counts."""
    suites, cells, executors = Counter(), Counter(), Counter()
    failed = []
    files = [path for name in FOLDERS for path in sorted((ROOT / "tests" / name).glob("test_*.py"))]
    for file in files:
        collector = Collector()
        with contextlib.redirect_stdout(io.StringIO()):
            status = pytest.main(
                ["--collect-only", "-q", "-n0", "-m", "", f"--rootdir={ROOT}", str(file)],
                plugins=[collector],
            )
        if status not in (0, 5):  # 5: it has no tests, as where a peer is not installed
            failed.append(file.name)
        for item in collector.items:
            parameters = getattr(getattr(item, "callspec", None), "params", {})
            if "row" in parameters:
                suites[f"{file.name}::{item.originalname}"] += 1  # pyright: ignore[reportAttributeAccessIssue]
                cells[parameters["row"].name] += 1
                executors[str(parameters.get("executor", "chosen by the test"))] += 1
    print(f"{suites.total()} cases: {len(cells)} cells, {len(suites)} suites")
    for name, number in executors.most_common():
        print(f"{number:6} executor {name}")
    for name, number in cells.most_common():
        print(f"{number:6} {name}")
    if failed:
        raise SystemExit(f"Not collected: {', '.join(failed)}.")


if __name__ == "__main__":
    main()
