import hashlib
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from workbench import data
from workbench.data import _sources


@pytest.fixture(scope="module")
def everything() -> data.Corpus:
    return data.stdlib_text()


def toy_corpus(*files: bytes) -> data.Corpus:
    joined = b"".join(files)
    return data.Corpus(
        bytes=np.frombuffer(joined, np.uint8),
        files=tuple(f"{index}.py" for index in range(len(files))),
        offsets=np.cumsum([0, *map(len, files)]),
        origin="toy",
        licence="none",
        sha256=hashlib.sha256(joined).hexdigest(),
    )


def file_texts(corpus: data.Corpus) -> dict[str, bytes]:
    return {
        name: corpus.bytes[start:end].tobytes()
        for name, start, end in zip(corpus.files, corpus.offsets[:-1], corpus.offsets[1:], strict=True)
    }


def test_corpus_is_the_interpreters_own_sources(everything: data.Corpus) -> None:
    texts = file_texts(everything)
    original = (Path(sysconfig.get_path("stdlib")) / "json" / "decoder.py").read_bytes().replace(b"\r\n", b"\n")
    assert texts["json/decoder.py"] == original
    assert everything.bytes.size > 5_000_000
    assert everything.licence == "PSF-2.0"
    assert everything.origin.startswith("standard library of ")


def test_hash_is_of_the_contents_and_stable_between_calls(everything: data.Corpus) -> None:
    assert everything.sha256 == hashlib.sha256(everything.bytes.tobytes()).hexdigest()
    _sources.stdlib_sources.cache_clear()  # read the disk again
    again = data.stdlib_text()
    assert again == everything
    assert hash(again) == hash(everything)
    assert data.stdlib_text(seed=1) != everything
    assert everything.sha256[:12] in repr(everything)


def test_splits_are_disjoint_by_file_and_cover_everything(everything: data.Corpus) -> None:
    splits = [data.stdlib_text(split=split) for split in ("train", "valid", "test")]
    names = [set(split.files) for split in splits]
    assert sum(map(len, names)) == len(set.union(*names)) == len(everything.files)
    assert [split.bytes.size for split in splits] == pytest.approx(
        [part * everything.bytes.size for part in (0.9, 0.05, 0.05)], abs=0.08 * everything.bytes.size
    )
    texts = [set(file_texts(split).values()) for split in splits]
    assert not texts[0] & texts[1]
    assert not texts[0] & texts[2]
    assert not texts[1] & texts[2]


def test_split_of_a_file_does_not_depend_on_the_other_files(monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(data.stdlib_text(split="valid").files)
    fewer = _sources.stdlib_sources()[::2]
    monkeypatch.setattr("workbench.data._text.stdlib_sources", lambda: fewer)
    assert set(data.stdlib_text(split="valid").files) == before & {name for name, _ in fewer}


def test_a_seed_makes_another_split_and_fractions_move_the_bounds() -> None:
    assert data.stdlib_text(split="test", seed=1).files != data.stdlib_text(split="test", seed=0).files
    half = data.stdlib_text(split="train", fractions=(0.5, 0.25, 0.25))
    assert half.files == data.stdlib_text(split="train").files[: len(half.files)]


def test_limit_gives_exactly_the_first_bytes(everything: data.Corpus) -> None:
    small = data.stdlib_text(limit_bytes=200_001)
    assert small.bytes.size == 200_001
    assert small.offsets[-1] == 200_001
    assert np.array_equal(small.bytes, everything.bytes[:200_001])
    assert data.stdlib_text(limit_bytes=10**9) == everything


def test_no_header_paragraph_stands_twice(everything: data.Corpus) -> None:
    seen: dict[bytes, str] = {}
    for name, text in file_texts(everything).items():
        for paragraph in _sources.header_paragraphs(text):
            assert paragraph not in seen, f"{name} repeats a header of {seen[paragraph]}: {paragraph!r}"
            seen[paragraph] = name
    assert len(seen) > 100  # headers that stand once are still there


def test_left_out_files_and_duplicates(tmp_path: Path) -> None:
    licence = b"# Copyright (c) 2000, A. Person\n# All rights reserved.\n"
    files = {
        "a.py": licence + b"#\n# About a.\n\nA = 1\n",
        "b.py": licence.replace(b"\n", b"\r\n") + b"#\r\n# About b.\r\n\r\nB = 1\r\n",
        "copy.py": licence + b"#\n# About a.\n\nA = 1\n",
        "empty.py": b"\n",
        "only_header.py": licence,
        "table.py": b"# This file is auto-generated.\nT = 1\n",
        "test/test_a.py": b"T = 2\n",
        "package/tests/test_b.py": b"T = 3\n",
        "site-packages/c.py": b"C = 1\n",
        "_sysconfigdata_linux.py": b"PREFIX = 1\n",
        "test.py": b"NOT_A_TEST = 1\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(text)
    assert dict(_sources.stdlib_sources(tmp_path)) == {
        "a.py": files["a.py"],
        "b.py": b"#\n# About b.\n\nB = 1\n",
        "copy.py": b"#\n\nA = 1\n",
        "test.py": b"NOT_A_TEST = 1\n",
    }


def test_missing_sources_are_an_error_that_says_where(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"must lie as \.py files"):
        _sources.stdlib_sources(tmp_path)


def test_windows_are_deterministic_bytes_of_the_corpus(everything: data.Corpus) -> None:
    windows = everything.windows(64, 100, seed=3)
    assert windows.shape == (100, 64)
    assert windows.dtype == np.uint8
    assert np.array_equal(windows, everything.windows(64, 100, seed=3))
    assert not np.array_equal(windows, everything.windows(64, 100, seed=4))
    text = everything.bytes.tobytes()
    assert all(window.tobytes() in text for window in windows)


def test_windows_stay_inside_a_file_and_reach_every_place() -> None:
    inside = toy_corpus(b"aaaa", b"b", b"cccccc").windows(3, 400, seed=0)
    assert {bytes(window) for window in inside} == {b"aaa", b"ccc"}
    starts = toy_corpus(bytes(range(10))).windows(3, 400, seed=0)[:, 0]
    assert set(starts.tolist()) == set(range(8))


def test_windows_span_files_only_where_no_file_is_long_enough() -> None:
    spanning = toy_corpus(b"ab", b"cd", b"e").windows(3, 200, seed=0)
    assert {bytes(window) for window in spanning} == {b"abc", b"bcd", b"cde"}


def test_contents_cannot_be_changed_by_a_user(everything: data.Corpus) -> None:
    with pytest.raises(ValueError, match="read-only"):
        everything.bytes[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        everything.offsets[0] = 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "dev"}, "split was 'dev'"),
        ({"fractions": (0.9, 0.2, 0.05)}, "fractions were"),
        ({"fractions": (1.2, -0.1, -0.1)}, "fractions were"),
        ({"fractions": (0.5, 0.5)}, "fractions were"),
        ({"split": "valid", "fractions": (1.0, 0.0, 0.0)}, "holds no file"),
        ({"limit_bytes": 0}, "limit_bytes was 0"),
    ],
)
def test_wrong_arguments_of_the_text(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.stdlib_text(**arguments)


@pytest.mark.parametrize(
    ("length", "count", "message"),
    [
        (0, 1, "length was 0"),
        (1, 0, "count was 0"),
        (6, 1, "length was 6; .* at most the corpus's 5"),
        (2.0, 1, "length"),
    ],
)
def test_wrong_arguments_of_windows(length: int, count: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        toy_corpus(b"ab", b"cde").windows(length, count, seed=0)


def test_embedding_is_a_table_lookup() -> None:
    tokens = np.frombuffer(b"abca", np.uint8).reshape(2, 2)
    embedded = data.embed(tokens, 16, seed=5)
    assert embedded.shape == (2, 2, 16)
    assert embedded.dtype == np.float32
    assert np.array_equal(embedded[0, 0], embedded[1, 1])
    assert not np.array_equal(embedded[0, 0], embedded[0, 1])
    assert np.array_equal(embedded, data.embed(tokens, 16, seed=5))
    assert not np.array_equal(embedded, data.embed(tokens, 16, seed=6))
    double = data.embed(tokens, 16, seed=5, dtype=np.float64)
    assert double.dtype == np.float64
    assert np.array_equal(double.astype(np.float32), embedded)


def test_embedding_rows_are_standard_normal() -> None:
    table = data.embed(np.arange(256), 400, dtype=np.float64)
    # Means of 102,400 draws: a standard error is 0.003, so 5 of them.
    assert abs(table.mean()) < 0.016
    assert abs((table**2).mean() - 1) < 0.023
    assert np.linalg.matrix_rank(table) == 256


def test_wrong_arguments_of_the_embedding() -> None:
    with pytest.raises(ValueError, match="tokens ran from -1 to 3"):
        data.embed(np.array([-1, 3]), 4)
    with pytest.raises(ValueError, match="tokens ran from 0 to 256"):
        data.embed(np.array([0, 256]), 4)
    with pytest.raises(TypeError, match="float64"):
        data.embed(np.array([0.5]), 4)
    with pytest.raises(ValueError, match="dim was 0"):
        data.embed(np.array([1]), 0)
