"""Text to tokens and back; tokenizers compare by content, so that two loads of a model are one to the compiler."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any


class AbstractTokenizer(ABC):
    """`encode(text)` and `decode(tokens)`; equal and hashed by `content`, a string that determines it."""

    @property
    @abstractmethod
    def content(self) -> str:
        """What determines it: equal contents, equal tokenizers."""

    @property
    @abstractmethod
    def vocab(self) -> int:
        """How many tokens there are."""

    @property
    def ends(self) -> tuple[int, ...]:
        """The tokens that end a text."""
        return ()

    @abstractmethod
    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """The tokens of a text; `special` also adds what the model wants around a text, such as [CLS] and [SEP]."""

    @abstractmethod
    def decode(self, tokens: Iterable[int]) -> str:
        """The text of tokens; special ones are left out."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AbstractTokenizer) and self.content == other.content

    def __hash__(self) -> int:
        return hash(self.content)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.vocab:,} tokens)"


class Bytes(AbstractTokenizer):
    """A token a byte of the text in UTF-8, 256 in all."""

    content = "bytes"
    vocab = 256

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        return list(text.encode())

    def decode(self, tokens: Iterable[int]) -> str:
        return bytes(int(token) for token in tokens).decode(errors="replace")


class Subwords(AbstractTokenizer):
    """A tokenizer of the `tokenizers` library, as tokenizer.json describes it. `ends`: the tokens that end a text."""

    def __init__(self, tokenizer: Any, ends: Sequence[int] = ()) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer, self._ends = tokenizer, tuple(int(token) for token in ends)
        self._content = hashlib.sha256(f"{tokenizer.to_str()}{self._ends}".encode()).hexdigest()

    @property
    def content(self) -> str:
        return self._content

    @property
    def vocab(self) -> int:
        return self._tokenizer.get_vocab_size()

    @property
    def ends(self) -> tuple[int, ...]:
        return self._ends

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=special).ids

    def decode(self, tokens: Iterable[int]) -> str:
        return self._tokenizer.decode([int(token) for token in tokens], skip_special_tokens=True)
