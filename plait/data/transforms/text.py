"""Text as tokens: bytes, characters, and pairs of bytes."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from plait.core.errors import ArgumentError, message
from plait.data.transforms.transform import Transform

Array = np.ndarray[Any, Any]
Path_ = str | os.PathLike[str]


class _Tokenizer(Transform):
    """What tokenizers have in common: calling one encodes."""

    def __call__(self, x: str) -> Array:
        return self.encode(x)

    def encode(self, text: str) -> Array:
        """Return the tokens of a text, int64."""
        raise NotImplementedError

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of tokens."""
        raise NotImplementedError


class ByteTokenizer(_Tokenizer):
    """The bytes of UTF-8 as tokens: 256 of them, for every text.

    Example:
        >>> tokenizer = plait.data.transforms.ByteTokenizer()
        >>> tokenizer("hé"), tokenizer.decode([104, 105])
        (array([104, 195, 169]), 'hi')
    """

    vocab_size = 256

    def encode(self, text: str) -> Array:
        return np.frombuffer(text.encode(), np.uint8).astype(np.int64)

    def decode(self, tokens: Iterable[int]) -> str:
        return bytes(int(t) for t in tokens).decode(errors="replace")


class CharacterTokenizer(_Tokenizer):
    """The characters of a text as tokens.

    Args:
        characters: a text with all characters that occur; tokens number them in the order of Unicode.
        unknown: the character that stands for others; None makes them an error.

    Raises:
        ArgumentError: at the call, for a character that is not known.

    Example:
        >>> tokenizer = plait.data.transforms.CharacterTokenizer("banana")
        >>> tokenizer("nab"), tokenizer.decode([1, 0])
        (array([2, 0, 1]), 'ba')
    """

    def __init__(self, characters: str, unknown: str | None = None) -> None:
        self.vocabulary = "".join(sorted(set(characters) | set(unknown or "")))
        self.unknown = unknown
        self._numbers = {c: i for i, c in enumerate(self.vocabulary)}

    @property
    def vocab_size(self) -> int:
        """The number of characters."""
        return len(self.vocabulary)

    def encode(self, text: str) -> Array:
        known = self._numbers
        if self.unknown is not None:
            return np.array([known.get(c, known[self.unknown]) for c in text], np.int64)
        try:
            return np.array([known[c] for c in text], np.int64)
        except KeyError as error:
            fix = "pass unknown=, or all characters"
            expected = f"{self.vocab_size} characters"
            raise ArgumentError(message("This character is not known", error.args[0], expected, fix)) from None

    def decode(self, tokens: Iterable[int]) -> str:
        return "".join(self.vocabulary[int(t)] for t in tokens)


_WORD = re.compile(r"'(?:[sdmt]|ll|ve|re)| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")


class BytePairTokenizer(_Tokenizer):
    """Frequent sequences of bytes as tokens (Sennrich et al., 2016; on bytes as in GPT-2).

    Args:
        merges: pairs of tokens in the order in which they were learned; pair i makes the token 256 + i.

    Example:
        >>> tokenizer = plait.data.transforms.BytePairTokenizer.train(["low lower lowest"], vocab_size=260)
        >>> tokens = tokenizer("lower low")
        >>> len(tokens), tokenizer.decode(tokens)
        (4, 'lower low')
    """

    def __init__(self, merges: Sequence[tuple[int, int]]) -> None:
        self.merges = [(int(a), int(b)) for a, b in merges]
        self._ranks = {pair: i for i, pair in enumerate(self.merges)}
        self._bytes = [bytes([i]) for i in range(256)]
        for a, b in self.merges:
            if max(a, b) >= len(self._bytes):
                raise ArgumentError(message("A pair of tokens comes before its parts", (a, b), "tokens known before"))
            self._bytes.append(self._bytes[a] + self._bytes[b])
        self._words: dict[str, list[int]] = {}

    @property
    def vocab_size(self) -> int:
        """The number of tokens."""
        return len(self._bytes)

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> BytePairTokenizer:
        """Learn tokens: again and again the most frequent pair becomes one; of equally frequent ones the smallest.

        Args:
            texts: what to learn from.
            vocab_size: the number of tokens, more than 256; fewer where no pair occurs twice.

        Returns:
            A tokenizer.

        Raises:
            ArgumentError: fewer tokens than bytes.
        """
        if vocab_size < 256:
            raise ArgumentError(message("There are 256 bytes", f"vocab_size={vocab_size}", "256 or more"))
        counts = Counter(word for text in texts for word in _WORD.findall(text))
        words = [list(word.encode()) for word in counts]
        times = list(counts.values())
        pairs: Counter[tuple[int, int]] = Counter()
        places: dict[tuple[int, int], set[int]] = {}
        for i, word in enumerate(words):
            for pair in zip(word, word[1:], strict=False):
                pairs[pair] += times[i]
                places.setdefault(pair, set()).add(i)
        merges: list[tuple[int, int]] = []
        while len(merges) + 256 < vocab_size and pairs:
            best = max(pairs, key=lambda pair: (pairs[pair], [-t for t in pair]))
            if pairs[best] < 2:
                break
            for i in sorted(places.pop(best)):
                for pair in zip(words[i], words[i][1:], strict=False):
                    pairs[pair] -= times[i]
                words[i] = _merged(words[i], best, 256 + len(merges))
                for pair in zip(words[i], words[i][1:], strict=False):
                    pairs[pair] += times[i]
                    places.setdefault(pair, set()).add(i)
            del pairs[best]
            merges.append(best)
        return cls(merges)

    def encode(self, text: str) -> Array:
        tokens: list[int] = []
        for word in _WORD.findall(text):
            if word not in self._words:
                if len(self._words) >= 1 << 16:
                    self._words.clear()
                self._words[word] = self._encoded(word)
            tokens += self._words[word]
        return np.array(tokens, np.int64)

    def _encoded(self, word: str) -> list[int]:
        tokens = list(word.encode())
        while len(tokens) > 1:
            best = min(zip(tokens, tokens[1:], strict=False), key=lambda p: self._ranks.get(p, len(self._ranks)))
            if best not in self._ranks:
                break
            tokens = _merged(tokens, best, 256 + self._ranks[best])
        return tokens

    def decode(self, tokens: Iterable[int]) -> str:
        return b"".join(self._bytes[int(t)] for t in tokens).decode(errors="replace")

    def save(self, path: Path_) -> None:
        """Write the pairs to a JSON file."""
        Path(path).write_text(json.dumps({"merges": self.merges}), encoding="utf-8")

    @classmethod
    def load(cls, path: Path_) -> BytePairTokenizer:
        """Read what `save` wrote."""
        return cls(json.loads(Path(path).read_text(encoding="utf-8"))["merges"])

    def __repr__(self) -> str:
        return f"BytePairTokenizer({self.vocab_size} tokens)"


def _merged(tokens: list[int], pair: tuple[int, int], token: int) -> list[int]:
    """Replace a pair of tokens by one."""
    result: list[int] = []
    for t in tokens:
        if result and t == pair[1] and result[-1] == pair[0]:
            result[-1] = token
        else:
            result.append(t)
    return result
