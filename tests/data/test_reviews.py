import dataclasses

import numpy as np
import pytest

from seqjax.data import DataError, Reviews, load_reviews


def tiny(**changes):
    labels = np.array([0, 1], np.int32)
    reviews = Reviews("tiny", ["ab", "c"], labels, ["d", "e"], labels, ["f"])
    return dataclasses.replace(reviews, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"train_texts": ["a", "bc"]},  # the same characters, another border
        {"train_labels": np.array([1, 0], np.int32)},
        {"test_texts": ["e", "d"]},
        {"unlabelled": []},
    ],
)
def test_sha256_sees_every_change_of_content(changes):
    assert tiny().sha256 == tiny().sha256 == tiny(name="other").sha256
    assert tiny(**changes).sha256 != tiny().sha256


def test_unknown_dataset_lists_the_known():
    with pytest.raises(DataError, match=r"one of auto, imdb_reviews, .*; got 'imbd'"):
        load_reviews("imbd")


@pytest.mark.parametrize("dataset", ["auto", "imdb_reviews"])
def test_misspelt_data_dir_is_refused(dataset, tmp_path):
    with pytest.raises(DataError, match=r"`data_dir` must be an existing folder, got '.*nowhere'"):
        load_reviews(dataset, data_dir=tmp_path / "nowhere")
