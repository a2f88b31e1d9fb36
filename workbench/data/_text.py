"""Text as bytes: the standard library's sources as a corpus that is split by file, windows of it, token embeddings."""

import hashlib
import math
import platform
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import DTypeLike

from workbench.data._sources import Source, stdlib_sources

Split = Literal["train", "valid", "test"]
SPLITS = ("train", "valid", "test")
VOCABULARY = 256  # a token is a byte


@dataclass(frozen=True)
class Corpus:
    """A text as bytes, file after file, with where it came from.

    `bytes` is a read-only uint8 array of shape (length,); file `files[i]` is `bytes[offsets[i] : offsets[i + 1]]`, so
    `offsets` has shape (files + 1,). `sha256` is the hash of the contents: equal hashes, equal bytes.
    """

    bytes: np.ndarray = field(compare=False, repr=False)
    files: tuple[str, ...]
    offsets: np.ndarray = field(compare=False, repr=False)
    origin: str
    licence: str
    sha256: str

    def __repr__(self) -> str:
        return (
            f"Corpus({self.bytes.size:,} bytes in {len(self.files):,} files, {self.origin}, "
            f"licence {self.licence}, sha256 {self.sha256[:12]})"
        )

    def windows(self, length: int, count: int, *, seed: int) -> np.ndarray:
        """`count` random windows of `length` bytes: uint8, shape (count, length), the same for the same `seed`.

        Each position in the corpus where a window fits inside one file is equally likely. A window spans files only
        when no file has `length` bytes. Raises `ValueError` when the whole corpus is shorter than `length`.
        """
        length, count = _natural("length", length), _natural("count", count)
        if length > self.bytes.size:
            raise ValueError(f"length was {length}; it must be at most the corpus's {self.bytes.size} bytes")
        sizes = np.diff(self.offsets)
        firsts, sizes = (self.offsets[:-1], sizes) if sizes.max() >= length else (np.zeros(1, int), self.offsets[-1:])
        places = np.cumsum(np.maximum(sizes - length + 1, 0))  # of windows, in this file and the ones before it
        drawn = np.random.default_rng(seed).integers(places[-1], size=count)
        chosen = np.searchsorted(places, drawn, side="right")
        starts = firsts[chosen] + drawn - np.concatenate([[0], places[:-1]])[chosen]
        return self.bytes[starts[:, None] + np.arange(length)]


def stdlib_text(
    *,
    split: Split | None = None,
    fractions: tuple[float, float, float] = (0.9, 0.05, 0.05),
    seed: int = 0,
    limit_bytes: int | None = None,
) -> Corpus:
    """The sources of the running Python's standard library (about 10 MB), or one of its three splits.

    A file as a whole belongs to a split: the hash of `seed` and its relative path is a number u in [0, 1), and
    `fractions` cut that interval into train, valid and test. A file thus keeps its split on any machine and, while its
    path stays, in any version of Python; `fractions` of the bytes are met only roughly. Files come in the order of u;
    `limit_bytes` keeps the first so many bytes: a random sample of files, of which the last may be cut. Raises
    `ValueError` for a wrong argument or a split without files.
    """
    if split is not None and split not in SPLITS:
        raise ValueError(f"split was {split!r}; it must be one of {', '.join(SPLITS)}, or None for everything")
    lower, upper = _interval(split, fractions)
    placed = sorted((_unit_interval(seed, name), name, text) for name, text in stdlib_sources())
    chosen = [(name, text) for u, name, text in placed if lower <= u < upper]
    if not chosen:
        raise ValueError(f"the split {split!r} holds no file with fractions={fractions} and seed={seed}")
    if limit_bytes is not None:
        chosen = _first_bytes(chosen, _natural("limit_bytes", limit_bytes))
    origin = f"standard library of {platform.python_implementation()} {platform.python_version()}, without tests"
    return _corpus(chosen, origin=origin, licence="PSF-2.0")


def embed(tokens: np.ndarray, dim: int, *, seed: int = 0, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Each byte as its row of a fixed table of standard normal numbers, shape (256, dim): shape (*tokens.shape, dim).

    The table depends on `dim` and `seed` only, so that runs on any machine see the same inputs. Raises `ValueError`
    when a token lies outside 0…255 or `dim` is no natural number, `TypeError` when the tokens are not whole numbers.
    """
    tokens = np.asarray(tokens)
    if not np.issubdtype(tokens.dtype, np.integer):
        raise TypeError(f"tokens had dtype {tokens.dtype}; they must be whole numbers (bytes as uint8)")
    if tokens.size and (tokens.min() < 0 or tokens.max() >= VOCABULARY):
        raise ValueError(f"tokens ran from {tokens.min()} to {tokens.max()}; they must be bytes, 0 to {VOCABULARY - 1}")
    table = np.random.default_rng(seed).standard_normal((VOCABULARY, _natural("dim", dim)))
    return table.astype(dtype)[tokens]


def _corpus(sources: list[Source], *, origin: str, licence: str) -> Corpus:
    joined = b"".join(text for _, text in sources)
    data = np.frombuffer(joined, np.uint8)
    offsets = np.cumsum([0, *(len(text) for _, text in sources)])
    offsets.setflags(write=False)
    names = tuple(name for name, _ in sources)
    return Corpus(data, names, offsets, origin, licence, hashlib.sha256(joined).hexdigest())


def _first_bytes(sources: list[Source], limit: int) -> list[Source]:
    kept, left = [], limit
    for name, text in sources:
        if left == 0:
            break
        kept.append((name, text[:left]))
        left -= len(kept[-1][1])
    return kept


def _interval(split: Split | None, fractions: tuple[float, float, float]) -> tuple[float, float]:
    """The part of [0, 1) that belongs to a split."""
    well_formed = len(fractions) == 3 and all(part >= 0 for part in fractions) and math.isclose(sum(fractions), 1.0)
    if not well_formed:
        raise ValueError(
            f"fractions were {fractions}; they must be three numbers ≥ 0 (train, valid, test) that sum to 1"
        )
    if split is None:
        return 0.0, 1.0
    train, valid, _ = fractions
    # The last bound is 1 exactly: a sum in floating point may fall short of it, and files would belong nowhere.
    return {"train": (0.0, train), "valid": (train, train + valid), "test": (train + valid, 1.0)}[split]


def _unit_interval(seed: int, name: str) -> float:
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48  # 48 bits: exact in a double, and never rounded up to 1


def _natural(argument: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{argument} was {value!r}; it must be a whole number ≥ 1")
    return int(value)
