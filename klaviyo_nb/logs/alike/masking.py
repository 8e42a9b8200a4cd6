"""What alike texts have in common, and where they may differ: in digits, and in ids.

Source:
    The idea of masking numbers and ids before lines are compared: https://github.com/logpai/Drain3
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from klaviyo_nb.expressions import expression
from klaviyo_nb.logs.coded import Coded
from klaviyo_nb.logs.coded import numbers as numbers_of
from klaviyo_nb.logs.formats import values

#: Long words with a digit in them are ids; what differs in them is not looked at.
_LONG = expression(r"[\w-]{16,}", re.ASCII)
#: Numbers of workers and processes, as in `worker-3` and `shop[17]`: too short for a status.
_COUNTER = expression(r"-(?<![0-9]-)[0-9]{1,2}(?![\w.:-])|\[[0-9]{1,2}\]", re.ASCII)
#: Numbers with their unit, clock times, dates. Some must be the same in records that are alike: short ones (a
#: status, an attempt, the number of an error) and dates (a revision is one).
_NUMBER = expression(r"\d+(?:[.:,-]\d+)*(?: m?s\b|[A-Za-z]*)", re.ASCII)
_DATE = expression(r"\d{4}-\d\d-\d\d")
_SOME_DAY = "2026-11-23"
#: Days of each month; but 29 February, which is a kind of its own.
_DAYS = np.array((0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31))
_CLOCK = expression(r"(\d\d):(\d\d):(\d\d)")
_PLAIN_NUMBER = expression(r"\d+(?:\.\d+)?")
#: A number so short is no mere digits [characters].
_SHORT = 3
_NO_DIGITS = str.maketrans("123456789", "000000000")
_DIGIT, _LETTER = 1, 2
#: By code point, and of all behind them.
_CLASSES = np.zeros(129, dtype=np.uint8)
_CLASSES[ord("0") : ord("9") + 1] = _DIGIT
for _first, _last in ("AZ", "az"):
    _CLASSES[ord(_first) : ord(_last) + 1] = _LETTER
#: Stands for a letter or digit of an id.
_ANY = "\0"
_NO_ID = str.maketrans("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", _ANY * 62)
_DIGITS = expression(r"\d", re.ASCII)

#: What hardly ever stays in alike records, and never alone tells two kinds apart.
_CHANGING = b"0123456789abcdefABCDEFGHIJKLMNOPQRSTUVWXYZ"

Read = Callable[[str], Any]


def outline(text: str, coded: bytes) -> tuple[bytes, int]:
    """The same for alike texts, and for few others; takes a fiftieth of the time of `mask`."""
    return without_changing(coded), len(text)


def without_changing(coded: bytes) -> bytes:
    """Text without what hardly ever stays in alike records."""
    return coded.translate(None, _CHANGING)


def mask(text: str) -> str:
    """The same for alike texts, and for no others."""
    return _without_names(text).translate(_NO_DIGITS)


def _without_names(text: str) -> str:
    """With `_ANY` for ids and the numbers of workers and processes; as long as before."""
    return _COUNTER.sub(_masked, _LONG.sub(_masked, text))


def numbers(text: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Where numbers stand: those that differ in alike records, and those that they may have in common."""
    spans: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    for found in _NUMBER.finditer(_without_names(text)):
        spans[_is_kept(found[0])].append(found.span())
    return spans


class Letters(NamedTuple):
    """Texts of equal length, letter by letter: code points, a row per text."""

    codes: np.ndarray[Any, Any]

    @property
    def plain(self) -> bool:
        """Are they ASCII?"""
        return bool(self.codes.dtype == np.uint8)

    def texts(self, span: slice) -> pa.Array:
        """What stands at a place in each of them, if they are plain."""
        letters = np.ascontiguousarray(self.codes[:, span])
        count, length = letters.shape
        ends = np.arange(count + 1, dtype=np.int64) * length
        buffers = [None, pa.py_buffer(ends), pa.py_buffer(letters)]
        return pa.Array.from_buffers(pa.large_string(), count, buffers)

    def coded(self, span: slice) -> Coded:
        """The same, each distinct text once."""
        found = self.texts(span).dictionary_encode()
        return Coded(numbers_of(found.indices, np.int32).astype(np.int64), found.dictionary.to_pylist())

    @classmethod
    def of(cls, texts: Sequence[str]) -> Letters:
        """Those of the texts, which have one length."""
        whole, length = "".join(texts), len(texts[0])
        if whole.isascii():
            return cls(np.frombuffer(whole.encode(), np.uint8).reshape(len(texts), length))
        return cls(np.array(texts, dtype=f"U{length}").view(np.uint32).reshape(len(texts), length))

    def only(self, rows: Sequence[int] | np.ndarray[Any, Any]) -> Letters:
        """Those of some of the texts."""
        return Letters(self.codes[rows])


class Pattern:
    """What every record of the same form fits, and no other."""

    def __init__(self, text: str, kept: Sequence[tuple[int, int]], days: Sequence[tuple[int, int]]) -> None:
        """Make it.

        Args:
            text: One of them.
            kept: Where numbers stand that tell kinds apart.
            days: Where any date may stand.
        """
        masked = _without_names(text)
        free = np.zeros(len(text), dtype=np.uint8)  # what may stand there instead
        for found in _NUMBER.finditer(masked):
            free[[at for at in range(*found.span()) if "0" <= text[at] <= "9"]] = _DIGIT
        for start, _ in days:
            free[[start + at for at, char in enumerate(_SOME_DAY) if char != "-"]] = _DIGIT
        free[[at for at, char in enumerate(masked) if char == _ANY]] = _DIGIT | _LETTER
        self._text, self._free = Letters.of([text]).codes[0], free
        self._days = [start for start, _ in days]
        self._kept = [at for span in kept for at in range(*span)]

    def fitting(self, letters: Letters) -> np.ndarray[Any, Any]:
        """Of each text: is it such a record?"""
        codes = letters.codes
        stands = (codes == self._text) | ((np.take(_CLASSES, codes, mode="clip") & self._free) > 0)
        fits: np.ndarray[Any, Any] = stands.all(axis=1)
        for start in self._days:
            fits &= _are_days(codes[:, start : start + len(_SOME_DAY)].astype(np.int16) - ord("0"))
        return fits

    def kept(self, letters: Letters) -> list[bytes]:
        """Of each text: the numbers that tell kinds apart."""
        if not self._kept:
            return [b""] * len(letters.codes)
        codes = np.ascontiguousarray(letters.codes[:, self._kept])
        told: list[bytes] = codes.view(f"V{codes.shape[1] * codes.itemsize}")[:, 0].tolist()
        return told


def _are_days(digits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Of each `2026-11-23`: is there such a day in every year?"""
    year, month, day = (
        digits[:, first] * 10 + digits[:, first + 1] for first in (0, len("2026-"), len("2026-11-"))
    )
    longest = _DAYS[np.clip(month, 0, len(_DAYS) - 1)]
    found: np.ndarray[Any, Any] = (year == 20) & (day >= 1) & (day <= longest) & (month < len(_DAYS))
    return found


def _masked(word: re.Match[str]) -> str:
    found = word[0]
    return found.translate(_NO_ID) if _DIGITS.search(found) else found


def _is_kept(number: str) -> bool:
    """Is it one of those that alike records have in common?"""
    return len(number) <= _SHORT or number[1] not in "0123456789.:,-" or _DATE.match(number) is not None


def otherwise(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """An alike text, with another digit wherever one may differ: in ids and in the numbers at `spans`."""
    masked = _without_names(text)
    letters = [_other_digit(char, at) if masked[at] == _ANY else char for at, char in enumerate(text)]
    for start, end in spans:
        if is_date(text, (start, end)):  # another day, which every month has
            tens, ones = start + len("2026-11-"), start + len("2026-11-2")
            letters[tens : ones + 1] = text[tens].replace("3", "1"), str(int(text[ones]) % 8 + 1)
            continue
        for place in _changeable(text, start, end):
            letters[place] = _other_digit(text[place], place)
        for clock in _CLOCK.finditer(text, start, end):
            letters[clock.end(1) - 1] = str((int(text[clock.end(1) - 1]) + 1) % 4)
    return "".join(letters)


def is_date(text: str, span: tuple[int, int]) -> bool:
    """Does a date stand there?"""
    return _DATE.match(text, *span) is not None


def _other_digit(char: str, place: int) -> str:
    """Another digit; of equal numbers at different places hardly ever the same."""
    shift = 1 + (place * 2_654_435_761 >> 9) % 9
    return str((int(char) + shift) % 10) if "0" <= char <= "9" else char


def _changeable(text: str, start: int, end: int) -> Iterator[int]:
    """Digits of a number that may be others, so that it stays a number of its sort or a valid time."""
    if end - start <= _SHORT:
        yield from range(start, end)
        return
    clock = _CLOCK.search(text, start, end)
    if clock:
        yield from (clock.end(2) - 1, clock.end(3) - 1)
        yield from (
            place
            for place in range(clock.end(), end)
            if text[place].isdigit() and text[place - 1] not in "+-"
        )
        return
    epoch = 4 if end - start >= len("1795410000") and text[start] == "1" else 1
    yield from (
        place for place in range(start + epoch, end) if text[place].isascii() and text[place].isdigit()
    )


def other_clock(clock: Any) -> Any:
    """Another time, in the same spelling."""
    if isinstance(clock, str):
        return otherwise(clock, numbers(clock)[0])
    return clock + 1 if isinstance(clock, int | float) else clock


def found(
    value: Any, text: str, other_value: Any, other: str, tells: Callable[[str], bool]
) -> tuple[slice, Read] | None:
    """Where `value` stands in the text and how it is read; the same gives the other text's other value.

    If it stands at several places, each is tried, for a text and its like may be read at different ones: the
    place that is meant is that at which `tells`, of the text with the other's digits there alone, is true.
    """
    stands = [(span, read) for span, read in _places(value, text) if read(text[span]) == value]
    fits = [(span, read) for span, read in stands if read(other[span]) == other_value]
    if len({span.start for span, _ in stands}) > 1:
        fits = [each for each in fits if tells(text[: each[0].start] + other[each[0]] + text[each[0].stop :])]
    return fits[0] if fits else None


def _places(value: Any, text: str) -> Iterator[tuple[slice, Read]]:
    if isinstance(value, str):
        yield from ((span, str) for span in _occurrences(value, text))
        return
    if isinstance(value, float):
        for found in _PLAIN_NUMBER.finditer(text):
            for unit in ("s", "ms", "us", "ns"):
                yield slice(*found.span()), _SECONDS[unit]
    elif isinstance(value, int):
        yield from ((slice(*found.span()), int) for found in re.finditer(r"\d+", text))


def _in(unit: str) -> Read:
    return lru_cache(4_096)(lambda text: values.seconds(text, "", unit))


_SECONDS = {unit: _in(unit) for unit in ("s", "ms", "us", "ns")}


def _occurrences(part: str, text: str) -> Iterator[slice]:
    at = text.find(part)
    while at >= 0:
        yield slice(at, at + len(part))
        at = text.find(part, at + 1)
