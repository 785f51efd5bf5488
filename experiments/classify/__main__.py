"""Trains a classifier of sequences, or asks one that has been trained."""

from experiments import classify, program

if __name__ == "__main__":
    program.main(classify.EXPERIMENT)
