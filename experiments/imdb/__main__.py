"""Trains a recurrent classifier of film reviews, or asks one that has been trained."""

from experiments import imdb, program

if __name__ == "__main__":
    program.main(imdb.EXPERIMENT)
