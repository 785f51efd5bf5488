"""Trains a recurrent network on a task of numbers, or asks one that has been trained."""

from experiments import program, regression

if __name__ == "__main__":
    program.main(regression.EXPERIMENT)
