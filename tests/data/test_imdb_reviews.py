import functools
import hashlib
import http.server
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading

import pytest

from seqjax.data import DataError, load_reviews
from seqjax.data import _imdb_reviews as imdb_reviews

REVIEWS = {
    "train": [("it’s dreadful", 0), ("superb", 1), ("superb", 1), ("dull", 0)],
    "test": [("fine", 1), ("stale", 0)],
    "unsupervised": [("who", -1), ("knows", -1), ("that", -1)],
}
NOWHERE = "http://127.0.0.1:9/aclImdb_v1.tar.gz"  # the discard port: refused at once


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No test reaches the published archive."""
    monkeypatch.setattr(imdb_reviews, "ARCHIVE_URL", NOWHERE)


@pytest.fixture
def heard():
    return []


@pytest.fixture
def load(heard):
    return functools.partial(load_reviews, notify=heard.append)


def check(reviews):
    assert reviews.name == "imdb_reviews"
    for split, texts, labels in (
        ("train", reviews.train_texts, reviews.train_labels.tolist()),
        ("test", reviews.test_texts, reviews.test_labels.tolist()),
    ):
        assert sorted(zip(texts, labels, strict=True)) == sorted(REVIEWS[split])
    assert sorted(reviews.unlabelled) == ["knows", "that", "who"]


def check_line(error):
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 800


# --- prepared by TFDS --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prepared_once(tmp_path_factory):
    """A data folder as TFDS leaves it, with few reviews."""
    import tensorflow_datasets as tfds
    from array_record.python.array_record_module import ArrayRecordWriter

    root = tmp_path_factory.mktemp("prepared")
    folder = root / "imdb_reviews" / "plain_text" / "1.0.0"
    folder.mkdir(parents=True)
    features = tfds.features.FeaturesDict(
        {"text": tfds.features.Text(), "label": tfds.features.ClassLabel(num_classes=2)}
    )
    splits = []
    for split, reviews in REVIEWS.items():
        name = f"imdb_reviews-{split}.array_record-00000-of-00001"
        writer = ArrayRecordWriter(str(folder / name), "group_size:1")
        for text, label in reviews:
            writer.write(features.serialize_example({"text": text, "label": label}))
        writer.close()
        splits.append(
            {
                "name": split,
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                "numBytes": "1",
                "shardLengths": [str(len(reviews))],
            }
        )
    info = {
        "name": "imdb_reviews",
        "version": "1.0.0",
        "configName": "plain_text",
        "fileFormat": "array_record",
        "splits": splits,
    }
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return root


@pytest.fixture
def prepared(prepared_once, tmp_path):
    """A copy to damage."""
    return shutil.copytree(prepared_once, tmp_path / "data")


def folder_of(root):
    return root / "imdb_reviews" / "plain_text" / "1.0.0"


@pytest.mark.parametrize("dataset", ["auto", "imdb_reviews"])
def test_reads_prepared(load, heard, prepared_once, dataset):
    check(load(dataset, data_dir=prepared_once))
    assert heard == []


def test_data_dir_comes_from_the_environment(load, prepared_once, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared_once))
    check(load())


def test_reads_prepared_beside_other_published_data(load, prepared_once, tmp_path):
    (tmp_path / "tensorflow_datasets").symlink_to(prepared_once)
    check(load(data_dir=tmp_path))


@pytest.mark.parametrize(
    "inside", [".", "imdb_reviews", "imdb_reviews/plain_text", "imdb_reviews/plain_text/1.0.0"]
)
def test_reads_prepared_from_its_own_folders(load, prepared_once, inside):
    check(load(data_dir=prepared_once / inside))


def test_a_folder_of_another_data_set_is_refused(load, tmp_path):
    folder = tmp_path / "mnist" / "3.0.1"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text('{"fileFormat": "array_record"}')
    for given in (tmp_path, folder):
        with pytest.raises(DataError, match=rf"cannot download .* {given} does not hold them"):
            load("auto", data_dir=given)


def test_reading_prepared_prints_nothing_and_imports_no_tensorflow(prepared_once):
    program = (
        "import sys; from seqjax.data import load_reviews;"
        f"load_reviews('imdb_reviews', data_dir={str(prepared_once)!r});"
        "sys.exit('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def truncated(folder):
    path = folder / "imdb_reviews-test.array_record-00000-of-00001"
    path.write_bytes(path.read_bytes()[:-1000])


def emptied(folder):
    (folder / "imdb_reviews-test.array_record-00000-of-00001").write_bytes(b"")


def overwritten(folder):
    (folder / "imdb_reviews-train.array_record-00000-of-00001").write_bytes(b"\7" * 131072)


def lacking_a_file(folder):
    (folder / "imdb_reviews-unsupervised.array_record-00000-of-00001").unlink()


def edit_info(folder, old, new):
    path = folder / "dataset_info.json"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def lacking_records(folder):
    edit_info(folder, '"shardLengths": ["4"]', '"shardLengths": ["25000"]')


def lacking_a_split(folder):
    edit_info(folder, '"name": "test"', '"name": "tset"')


def with_cut_info(folder):
    (folder / "dataset_info.json").write_text('{"name": "imdb_rev')


def with_other_info(folder):
    (folder / "dataset_info.json").write_text("[]")


def unfinished(folder):
    folder.rename(folder.with_name("1.0.0.incompleteA1B2C3"))


def with_one_label(folder):
    train, test = (
        folder / f"imdb_reviews-{name}.array_record-00000-of-00001"
        for name in ("unsupervised", "test")
    )
    shutil.copy(train, test)
    edit_info(folder, '"shardLengths": ["2"]', '"shardLengths": ["3"]')


@pytest.mark.parametrize("dataset", ["auto", "imdb_reviews"])
@pytest.mark.parametrize(
    ("damage", "how"),
    [
        (truncated, "test"),
        (emptied, r"-test\.array_record.* cannot be read|`test` must hold 2 records, it holds 0"),
        (overwritten, "train"),
        (lacking_a_file, "unsupervised"),
        (lacking_records, "`train` must hold 25000 records, it holds 4"),
        (lacking_a_split, "test"),
        (with_cut_info, r"dataset_info\.json cannot be read"),
        (with_other_info, r"dataset_info\.json cannot be read"),
        (unfinished, r"it is unfinished: no dataset_info\.json"),
        (with_one_label, "`test` must hold both labels"),
    ],
)
def test_damage_is_an_error_in_one_line(load, heard, prepared, damage, how, dataset):
    damage(folder_of(prepared))
    with pytest.raises(DataError, match=f"1.0.0 is damaged: .*({how}).*Delete it") as error:
        load(dataset, data_dir=prepared)
    check_line(error)
    assert heard == []


# --- the published archive ---------------------------------------------------------------------


def make_archive() -> bytes:
    folders = {0: "neg", 1: "pos", -1: "unsup"}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:

        def add(name, content):
            member = tarfile.TarInfo(f"aclImdb/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))

        add("README", b"read me")
        add("train/urls_pos.txt", b"http://")
        for split, reviews in REVIEWS.items():
            for number, (text, label) in enumerate(reviews):
                parent = "train" if split == "unsupervised" else split
                add(f"{parent}/{folders[label]}/{number}_7.txt", text.encode("utf-8"))
    return buffer.getvalue()


@pytest.fixture
def archive(monkeypatch):
    content = make_archive()
    monkeypatch.setattr(imdb_reviews, "ARCHIVE_SHA256", hashlib.sha256(content).hexdigest())
    return content


@pytest.fixture
def serve(monkeypatch):
    """Serves given bytes as the archive; counts the requests."""
    servers, requests = [], []

    def start(content, *, status=200, declared=None):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                requests.append(self.path)
                self.send_response(status)
                self.send_header("Content-Length", str(declared or len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments):
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        url = f"http://127.0.0.1:{server.server_port}/aclImdb_v1.tar.gz"
        monkeypatch.setattr(imdb_reviews, "ARCHIVE_URL", url)
        return requests

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("dataset", ["auto", "imdb_reviews"])
def test_downloads_once(load, heard, archive, serve, tmp_path, dataset):
    requests = serve(archive)
    check(load(dataset, data_dir=tmp_path))
    check(load(dataset, data_dir=tmp_path))
    assert len(requests) == 1
    assert len(heard) == 1
    assert "downloading http://127.0.0.1" in heard[0]
    assert os.listdir(tmp_path / "downloads") == ["aclImdb_v1.tar.gz"]


def test_makes_the_default_folder(load, archive, serve, tmp_path, monkeypatch):
    serve(archive)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "to" / "be" / "made"))
    check(load())


def test_both_sources_give_the_same_reviews(load, archive, serve, prepared_once, tmp_path):
    serve(archive)
    archived, prepared = load(data_dir=tmp_path), load(data_dir=prepared_once)
    assert archived.sha256 == prepared.sha256
    assert archived.train_texts == prepared.train_texts


def test_another_file_format_leads_to_the_archive(load, heard, archive, serve, prepared):
    serve(archive)
    edit_info(folder_of(prepared), "array_record", "tfrecord")
    check(load("imdb_reviews", data_dir=prepared))
    assert "holds tfrecord files, which only TensorFlow reads; reading the published" in heard[0]


def test_reads_the_archive_where_it_lies(load, archive, tmp_path):
    (tmp_path / "aclImdb_v1.tar.gz").write_bytes(archive)
    check(load(data_dir=tmp_path))


def test_reads_the_unpacked_archive(load, archive, tmp_path, monkeypatch):
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(tmp_path, filter="data")
    (tmp_path / "aclImdb" / "train" / "pos" / "._0_7.txt").write_bytes(b"\0\5\x16\7")
    for given in (tmp_path, tmp_path / "aclImdb"):
        with pytest.raises(DataError, match=r"aclImdb must hold the published reviews.*--dataset"):
            load("auto", data_dir=given)
    whole = "f5a061a15a7ddefd8fcc788c166a781e5ce7fda304cf74288e74ffcf4ee35621"
    monkeypatch.setattr(imdb_reviews, "REVIEWS_SHA256", whole)
    for given in (tmp_path, tmp_path / "aclImdb"):
        check(load("auto", data_dir=given))


@pytest.mark.parametrize("dataset", ["auto", "imdb_reviews"])
def test_wrong_checksum_is_refused_and_not_kept(load, archive, serve, tmp_path, dataset):
    serve(b"<html>Please log in</html>")
    got = hashlib.sha256(b"<html>Please log in</html>").hexdigest()
    with pytest.raises(
        DataError, match=f"must have SHA-256 {imdb_reviews.ARCHIVE_SHA256}.*{got}.*not kept"
    ) as error:
        load(dataset, data_dir=tmp_path)
    check_line(error)
    assert os.listdir(tmp_path / "downloads") == []


@pytest.mark.parametrize("dataset", ["auto", "imdb_reviews"])
def test_damaged_download_is_refused(load, archive, tmp_path, dataset):
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "aclImdb_v1.tar.gz").write_bytes(archive[:-1])
    with pytest.raises(DataError, match=r"aclImdb_v1\.tar\.gz must have SHA-256 .* Delete it"):
        load(dataset, data_dir=tmp_path)


def test_archive_of_something_else_is_refused(load, monkeypatch, tmp_path):
    (tmp_path / "downloads").mkdir()
    path = tmp_path / "downloads" / "aclImdb_v1.tar.gz"
    path.write_bytes(b"not a tar file")
    monkeypatch.setattr(
        imdb_reviews, "ARCHIVE_SHA256", hashlib.sha256(path.read_bytes()).hexdigest()
    )
    with pytest.raises(DataError, match=r"aclImdb_v1\.tar\.gz is damaged: not a gzip file"):
        load("imdb_reviews", data_dir=tmp_path)


def test_folder_that_cannot_be_written_is_named(load, archive, serve, tmp_path):
    serve(archive)
    (tmp_path / "downloads").write_text("a file where a folder should be")
    with pytest.raises(DataError, match=r"cannot write to .*downloads"):
        load("auto", data_dir=tmp_path)


# --- without a network -------------------------------------------------------------------------


def refused(serve, archive):
    pass


def answering_503(serve, archive):
    serve(b"later", status=503)


def hanging_up(serve, archive):
    serve(archive[:50], declared=len(archive))


# pooch leaves the connection of a download that broke off to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "network",
    [refused, *(pytest.param(e, marks=pytest.mark.extended) for e in (answering_503, hanging_up))],
)
def test_unreachable(load, heard, archive, serve, tmp_path, network, monkeypatch):
    network(serve, archive)
    with pytest.raises(DataError, match=r"cannot download http://127.*Connect to the") as error:
        load("imdb_reviews", data_dir=tmp_path)
    check_line(error)
    with pytest.raises(DataError, match=f"cannot download http.* {tmp_path} does not hold them"):
        load("auto", data_dir=tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    reviews = load("auto")
    assert reviews.name == "generated_reviews"
    notice = heard[-1].splitlines()
    assert notice[0] == notice[-1] == "!" * 78
    assert "GENERATED" in notice[1]
    assert str(tmp_path / "downloads" / "aclImdb_v1.tar.gz") in heard[-1]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_folder_for_generated_reviews_is_refused(load, tmp_path):
    with pytest.raises(DataError, match="`generated_reviews` reads no `data_dir`"):
        load("generated_reviews", data_dir=tmp_path)


def test_silent_server_is_given_up_soon(load, monkeypatch, tmp_path):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        monkeypatch.setattr(imdb_reviews, "ARCHIVE_URL", url)
        monkeypatch.setattr(imdb_reviews, "TIMEOUT_S", 0.1)
        with pytest.raises(DataError, match="timed out"):
            load("imdb_reviews", data_dir=tmp_path)


# --- the real thing ----------------------------------------------------------------------------


@pytest.mark.slow
def test_real_reviews():
    root = os.environ.get("TFDS_DATA_DIR", "")
    if not os.path.exists(os.path.join(root, "imdb_reviews")):
        pytest.skip("TFDS_DATA_DIR holds no imdb_reviews")
    reviews = load_reviews("imdb_reviews", data_dir=root)
    assert len(reviews.train_texts) == len(reviews.test_texts) == 25_000
    assert len(reviews.unlabelled) == 50_000
    assert reviews.train_labels.mean() == reviews.test_labels.mean() == 0.5
    assert reviews.sha256 == "1bfe212b13476799d0dc880c2ff3fe826e80046ee8ece9f8ef59b76bce0a458f"
