"""Trains a recurrent network on a task of numbers, or asks one that has been trained."""

from collections.abc import Iterable

from experiments import command_line, regression


def predict(workdir: str, file: str) -> Iterable[str]:
    """Yields the answers as lines of a table."""
    rows = regression.predict(workdir, file)
    yield ",".join(rows[0])
    for row in rows:
        yield ",".join(f"{value:.6g}" for value in row.values())


if __name__ == "__main__":
    command_line.main(
        regression, predict=("a file to ask a finished run of --task=csv about", predict)
    )
