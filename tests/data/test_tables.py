import hashlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import polars
import pytest

from workbench import data
from workbench.data import _catalogue, _images, _sources, _tables

TABLE = "# origin: A. Author 2020, Table 1\n# licence: facts\nstreams,loss\n1,2.5\n2,2.25\n"


@pytest.fixture
def published_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / "toy-losses.csv").write_text(TABLE)
    monkeypatch.setattr(_tables, "PUBLISHED", folder)
    return folder


@pytest.fixture
def user_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    (folder / "deep").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    (folder / "corpus.txt").write_text("hello")
    (folder / "deep" / "more.bin").write_bytes(b"12")
    (folder / ".hidden" / "cache").write_text("x")
    monkeypatch.setenv("WORKBENCH_DATA", str(folder))
    return folder


def test_published_table_skips_its_comment_lines(published_folder: Path) -> None:
    frame = data.published("toy-losses")
    assert frame.columns == ["streams", "loss"]
    assert frame.schema == {"streams": polars.Int64, "loss": polars.Float64}
    assert frame.rows() == [(1, 2.5), (2, 2.25)]


def test_unknown_table_lists_the_known_ones(published_folder: Path) -> None:
    with pytest.raises(ValueError, match=r"name was '\.\./secret'; .*: toy-losses$"):
        data.published("../secret")
    (published_folder / "toy-losses.csv").unlink()
    with pytest.raises(ValueError, match="none yet"):
        data.published("toy-losses")


def test_each_table_that_is_here_reads_and_says_where_it_comes_from() -> None:
    for name in _tables.published_names():
        assert data.published(name).height > 0, name
        assert _tables.published_note(name, "origin"), f"{name}.csv must begin with '# origin: …'"
        assert _tables.published_note(name, "licence"), f"{name}.csv must say '# licence: …' before its header"
    assert (_tables.PUBLISHED / "README.md").is_file()


def test_user_path(user_folder: Path) -> None:
    assert data.user_path("corpus.txt").read_text() == "hello"
    assert data.user_path("deep/more.bin").read_bytes() == b"12"
    assert data.user_path("deep").is_dir()


@pytest.mark.parametrize("name", ["", "../elsewhere", "/etc", "deep/../../elsewhere"])
def test_user_path_stays_inside_the_folder(user_folder: Path, name: str) -> None:
    (user_folder.parent / "elsewhere").write_text("not yours")
    with pytest.raises(ValueError, match="must be a relative path inside WORKBENCH_DATA"):
        data.user_path(name)


def test_missing_user_file_says_what_is_there(user_folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"WORKBENCH_DATA was .*mine.*must hold 'gone'.*: corpus.txt, deep$"):
        data.user_path("gone")


def test_variable_not_set_or_not_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WORKBENCH_DATA", raising=False)
    with pytest.raises(LookupError, match="WORKBENCH_DATA is not set"):
        data.user_path("corpus.txt")
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "nowhere"))
    for call in (lambda: data.user_path("corpus.txt"), data.catalogue):
        with pytest.raises(NotADirectoryError, match=r"WORKBENCH_DATA was .*nowhere"):
            call()


def test_catalogue_has_one_row_a_dataset(published_folder: Path, user_folder: Path) -> None:
    rows = data.catalogue()
    assert rows.columns == ["name", "kind", "origin", "licence", "sha256", "bytes"]
    assert rows.select("kind", "name").is_unique().all()
    assert rows.group_by("kind").len().sort("kind").rows() == [
        ("image", len(data.image_names())),
        ("published", 1),
        ("text", 1),
        ("user", 2),
    ]
    assert rows.null_count().sum_horizontal().item() == 0
    text = rows.row(by_predicate=polars.col("name") == "stdlib_text", named=True)
    assert (text["sha256"], text["bytes"]) == (data.stdlib_text().sha256, data.stdlib_text().bytes.size)
    image = rows.row(by_predicate=(polars.col("name") == "china"), named=True)
    assert (image["sha256"], image["licence"]) == (data.images("china").sha256, "CC-BY-2.0")
    table = rows.row(by_predicate=(polars.col("kind") == "published"), named=True)
    assert (table["origin"], table["licence"]) == ("A. Author 2020, Table 1", "facts")
    assert table["sha256"] == hashlib.sha256(TABLE.encode()).hexdigest()
    assert rows.filter(kind="user").select("name", "bytes").rows() == [("corpus.txt", 5), ("deep/more.bin", 2)]


def test_large_user_files_are_listed_without_a_hash(user_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_catalogue, "HASHED_UP_TO_BYTES", 4)
    hashes = dict(data.catalogue().filter(kind="user").select("name", "sha256").iter_rows())
    assert hashes == {"corpus.txt": None, "deep/more.bin": hashlib.sha256(b"12").hexdigest()}


def test_nothing_opens_a_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the data room must not use the network")

    monkeypatch.setattr("socket.socket.__init__", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    with pytest.raises(AssertionError, match="must not use the network"):
        socket.socket()
    _sources.stdlib_sources.cache_clear()
    _images.images.cache_clear()
    assert data.catalogue().height > len(data.image_names())
    assert all(data.images(name).array.size for name in data.image_names())


def test_import_is_cheap() -> None:
    heavy = {"polars", "PIL", "skimage", "sklearn", "jax", "panel", "holoviews", "duckdb", "scipy"}
    code = f"import sys, workbench.data; print(sorted({heavy!r} & set(sys.modules)))"
    root = Path(_tables.__file__).parents[2]
    child = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert child.stdout.strip() == "[]"
