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
    cases: set[tuple[str, str, str]] = set()
    tests, failed = 0, []
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
            row = parameters.get("row")
            if row is not None:
                suite = f"{file.name}::{item.name.partition('[')[0]}"
                tests += 1
                cases.add((row.name, row.executor, suite))
    cells, executors, suites = (Counter(names) for names in zip(*cases, strict=True))
    print(
        f"{len(cases)} cases: {len(cells)} cells, {len(executors)} executors, {len(suites)} suites "
        f"({tests} tests)"
    )
    for counted in (executors, cells):
        for name, number in counted.most_common():
            print(f"{number:6} {name}")
    if failed:
        raise SystemExit(f"Not collected: {', '.join(failed)}.")


if __name__ == "__main__":
    main()
