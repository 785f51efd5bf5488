"""Trains a translator of sentences, or asks one that has been trained."""

from collections.abc import Iterable

from experiments import command_line, translate


def predict(workdir: str, sentence: str) -> Iterable[str]:
    """Yields the translation."""
    yield translate.predict(workdir, sentence)


if __name__ == "__main__":
    command_line.main(translate, predict=("a sentence the finished run translates", predict))
