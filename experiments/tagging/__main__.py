"""Trains a recurrent tagger of words, or asks one that has been trained."""

from experiments import program, tagging

if __name__ == "__main__":
    program.main(tagging.EXPERIMENT)
