"""Metrics of text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from plait.core.errors import ArgumentError, ArgumentTypeError, message
from plait.metrics.labels import check_positive_integer
from plait.metrics.metric import Metric, State
from plait.tensor.creation import as_tensor
from plait.tensor.functions import exp, log, where
from plait.tensor.tensor import Tensor


class BLEU(Metric):
    """BLEU of translations: the mean precision of their n-grams, with a penalty for brevity (Papineni et al., 2002).

    `update(input, target)` takes sentences as strings, which are split at white space, or as lists of tokens; and
    for each a list of references. The score is that of the corpus, from 0 to 1, without smoothing.

    Args:
        n_gram: the length of the longest n-grams.

    Raises:
        ArgumentError: `n_gram` is below 1.

    Example:
        >>> bleu = plait.metrics.BLEU(n_gram=2)
        >>> bleu.update(["the cat sat on the mat"], [["the cat is on the mat"]]).compute()
        tensor(0.7071, dtype=plait.float64)
    """

    is_collected = True

    def __init__(self, n_gram: int = 4) -> None:
        check_positive_integer("n_gram", n_gram)
        self.n_gram = n_gram

    def update(self, *batch: Any) -> Self:
        """Take sentences and their references into account; the metric itself is returned."""
        new = self._counts(*batch)
        return self.merge(_with_state(self, new))

    def evaluate(self, *batch: Any) -> Any:
        """Return the score of these sentences alone."""
        return self.result(self._counts(*batch))

    def _counts(self, input: Sequence[Any], target: Sequence[Sequence[Any]]) -> State:
        if isinstance(input, str) or any(isinstance(references, str) for references in target):
            text, fix = "BLEU takes several sentences, each with a list of references", "BLEU().update([a], [[b, c]])"
            raise ArgumentTypeError(message(text, "a string", None, fix))
        if len(input) != len(target):
            text = "BLEU needs references for each sentence"
            raise ArgumentError(message(text, f"{len(input)} sentences, references for {len(target)}"))
        found, possible, lengths = np.zeros(self.n_gram), np.zeros(self.n_gram), np.zeros(2)
        for sentence, references in zip(input, target, strict=True):
            words, others = _words(sentence), [_words(r) for r in references]
            lengths += len(words), min((abs(len(o) - len(words)), len(o)) for o in others)[1]
            for n in range(1, self.n_gram + 1):
                limits: Counter[Any] = Counter()
                for other in others:
                    limits |= _grams(other, n)
                found[n - 1] += (_grams(words, n) & limits).total()
                possible[n - 1] += max(len(words) - n + 1, 0)
        return {"found": as_tensor(found), "possible": as_tensor(possible), "lengths": as_tensor(lengths)}

    def result(self, state: State) -> Tensor:
        """Return the score; 0 if no n-gram of some length is found."""
        found, possible, (length, reference) = state["found"], state["possible"], state["lengths"]
        precision = where(found > 0, found / where(possible > 0, possible, 1.0), 1.0)
        brevity = where(length < reference, 1 - reference / where(length > 0, length, 1.0), 0.0)
        return where((found > 0).all(), exp(log(precision).mean() + brevity), 0.0)


def _with_state(metric: Metric, state: State) -> Metric:
    other = type(metric).__new__(type(metric))
    other.state = state
    return other


def _words(sentence: Any) -> list[Any]:
    return sentence.split() if isinstance(sentence, str) else list(sentence)


def _grams(words: list[Any], n: int) -> Counter[Any]:
    return Counter(tuple(words[k : k + n]) for k in range(len(words) - n + 1))
