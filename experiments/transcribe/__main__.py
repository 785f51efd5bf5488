"""Trains a transcriber of spoken digits, or asks one that has been trained."""

from experiments import program, transcribe

if __name__ == "__main__":
    program.main(transcribe.EXPERIMENT)
