"""Trains a translator of sentences, or asks one that has been trained."""

from experiments import program, translate

if __name__ == "__main__":
    program.main(translate.EXPERIMENT)
