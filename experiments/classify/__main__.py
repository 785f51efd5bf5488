"""Trains a classifier of sequences, or asks one that has been trained."""

from experiments import classify, command_line
from experiments.classify.predict import answer_lines

if __name__ == "__main__":
    command_line.main(
        classify,
        predict=("a file (WAV, CSV, lines) or a text to ask the finished run about", answer_lines),
    )
