"""Trains a model of text or music, or has one that has been trained continue."""

import dataclasses
from collections.abc import Iterable

from experiments import command_line, generate
from experiments.generate.predict import answer


def predict(workdir: str, value: str) -> Iterable[str]:
    """Yields the answer, with the settings of a sample that stand on the command line."""
    given = command_line.given_settings(generate.Config)
    fields = dataclasses.fields(generate.Config)
    names = {field.name for field in fields if not field.metadata["names_run"]}
    return answer(workdir, value, **{name: given[name] for name in names & set(given)})


if __name__ == "__main__":
    command_line.main(
        generate,
        predict=(
            "how the text begins that a finished run continues; of a run of music, the MIDI file "
            "that it writes",
            predict,
        ),
    )
