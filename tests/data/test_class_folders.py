import pytest

from experiments.classify.class_folders import find_class_folders
from seqjax.data import DataError


def make(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return root


def test_files_by_class_and_name(tmp_path):
    found = find_class_folders(make(tmp_path, "b/2.txt", "b/1.TXT", "a/3.txt", "a/notes.md"))
    assert found.classes == ("a", "b")
    assert [path.name for path in found.paths] == ["3.txt", "1.TXT", "2.txt"]
    assert found.labels.tolist() == [0, 1, 1]
    assert found.kind == ".txt"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a/1.txt"], "two or more classes, got 1"),
        (["a/1.txt", "b/1.md"], r"b must hold \.wav or \.txt files, got none"),
        (["a/1.txt", "b/1.wav"], "got both"),
    ],
)
def test_faults_are_named(tmp_path, names, message):
    with pytest.raises(DataError, match=message):
        find_class_folders(make(tmp_path, *names))
    with pytest.raises(DataError, match="an existing folder is required"):
        find_class_folders(tmp_path / "nowhere")
