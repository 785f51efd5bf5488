"""Trains a transcriber of spoken digits, or asks one that has been trained."""

from experiments import command_line, transcribe
from experiments.transcribe.predict import answer_lines

if __name__ == "__main__":
    command_line.main(
        transcribe, predict=("a WAV file whose digits the finished run is asked for", answer_lines)
    )
