"""Trains a model of text or music, or has one that has been trained continue."""

from experiments import generate, program

if __name__ == "__main__":
    program.main(generate.EXPERIMENT)
