"""Trains a recurrent classifier of film reviews, or asks one that has been trained."""

from collections.abc import Iterable

from experiments import command_line, imdb


def predict(workdir: str, text: str) -> Iterable[str]:
    """Yields the answer in words."""
    positive = imdb.predict(workdir, text)
    sentiment = "positive" if positive > 0.5 else "negative"
    yield f"{sentiment}: the probability of positive is {positive:.3f}"


if __name__ == "__main__":
    command_line.main(
        imdb,
        run_flags={"cache_dir": "where encoded data is kept (default: ~/.cache/seqjax)"},
        predict=("a text whose sentiment the finished run is asked for", predict),
    )
