"""Trains a recurrent tagger of words, or asks one that has been trained."""

from collections.abc import Iterable

from experiments import command_line, tagging


def predict(workdir: str, text: str) -> Iterable[str]:
    """Yields the words with their tags, in a line."""
    yield " ".join(f"{word}/{tag}" for word, tag in tagging.predict(workdir, text))


if __name__ == "__main__":
    command_line.main(
        tagging, predict=("a sentence whose words the finished run is to tag", predict)
    )
