"""URLs without the ids in them: those that differ in an id differ in nothing but whom they are about."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from klaviyo_nb.logs.alike.layout import Cut, coded
from klaviyo_nb.logs.coded import Coded, Numbers, Texts, indices

#: An id in a path: letters and digits between marks, a digit among them; no word of the catalogue is written
#: so. It stands behind a slash (not that of a host), and before one of these or the end [characters].
_SHORTEST, _LONGEST, _ENDS = 12, 64, b"/?#\n"
#: What names a profile, as `understand.profile_in` says.
_PROFILES, _LONGEST_PROFILE = "/profiles/", 40
_LETTER, _DIGIT = 1, 2
_CLASSES = np.zeros(256, np.uint8)
_CLASSES[list(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")] = _LETTER
_CLASSES[list(b"0123456789")] = _DIGIT
_ENDING = np.zeros(256, np.bool_)
_ENDING[list(_ENDS)] = True


class Urls(NamedTuple):
    """A column of URLs.

    Attributes:
        shapes: They with `0` for every id.
        profiles: Which of those ids is a profile's; None if none is.
    """

    shapes: Coded
    profiles: Texts | None = None


def without_ids(column: Any) -> Urls:
    """A group's column of URLs, or of anything else, which stays as it is."""
    if isinstance(column, Cut) and not column.number:
        codes, texts = column.encoded
        return _masked(codes, _in_lines(texts)) or Urls(column.coded)
    plain = coded(column)
    if any(type(value) is not str or "\n" in value for value in plain.values):
        return Urls(plain)
    return _masked(plain.codes, "".join(f"{value}\n" for value in plain.values).encode()) or Urls(plain)


def _in_lines(texts: pa.Array) -> bytes:
    """Texts, each of which has a line."""
    count = len(texts)
    ends = np.frombuffer(texts.buffers()[1], np.int64, count + 1)[1:] + np.arange(count)
    whole = np.empty(int(ends[-1]) + 1, np.uint8)
    inside = np.ones(len(whole), np.bool_)
    inside[ends] = False
    whole[ends], whole[inside] = ord("\n"), np.frombuffer(texts.buffers()[2], np.uint8, len(whole) - count)
    return whole.tobytes()


def _masked(codes: Numbers, whole: bytes) -> Urls | None:
    """Of rows, each of which has a line of `whole`; None if there is no id, or not surely one profile's."""
    letters = np.frombuffer(whole, np.uint8)
    starts, ends = _ids(letters)
    if not len(starts):
        return None
    shown, inside = letters.copy(), np.zeros(len(letters), np.int8)
    shown[starts], inside[starts + 1], inside[ends] = ord("0"), 1, -1
    shapes = Coded.of(shown[np.cumsum(inside, dtype=np.int8) == 0].tobytes().decode().split("\n")[:-1])
    if any(shape.count(_PROFILES) > 1 for shape in shapes.values):
        return None
    return Urls(Coded(shapes.codes[codes], shapes.values), _profiles(codes, whole, letters, starts, ends))


def _ids(letters: Numbers) -> tuple[Numbers, Numbers]:
    """Where ids begin and end."""
    classes = _CLASSES[letters]
    marks = np.flatnonzero(classes == 0)
    lengths = np.diff(marks) - 1
    long = np.flatnonzero((lengths >= _SHORTEST) & (lengths <= _LONGEST))
    before, ends = marks[long], marks[long + 1]
    digits = np.cumsum(classes == _DIGIT, dtype=np.int64)
    earlier = letters[before - 1]  # of the first letter: the last one, which ends a line
    fits = (letters[before] == ord("/")) & (earlier != ord("/")) & (earlier != ord(":"))
    fits &= _ENDING[letters[ends]] & (digits[ends] > digits[before])
    return before[fits] + 1, ends[fits]


def _profiles(codes: Numbers, whole: bytes, letters: Numbers, starts: Numbers, ends: Numbers) -> Texts | None:
    """Of each row the id of a profile, of which a line has one at most."""
    name = np.frombuffer(_PROFILES.encode(), np.uint8)
    named = (letters[starts[:, None] + np.arange(-len(name), 0)] == name).all(1)
    named &= (ends - starts <= _LONGEST_PROFILE) & (letters[ends] != ord("#"))
    if not named.any():
        return None
    breaks = np.flatnonzero(letters == ord("\n"))
    which = np.searchsorted(breaks, starts[named])
    # Every second text is one of them, or nothing before the line's end; what is between them nobody takes.
    borders = np.repeat(np.append(breaks, len(letters)), 2)[:-1]
    borders[2 * which], borders[2 * which + 1] = starts[named], ends[named]
    there = np.zeros(2 * len(breaks), np.bool_)
    there[2 * which] = True
    buffers = [
        pa.py_buffer(np.packbits(there, bitorder="little")),
        pa.py_buffer(borders),
        pa.py_buffer(whole),
    ]
    every = pa.Array.from_buffers(pa.large_string(), len(there), buffers)
    return Texts(every.take(indices(2 * codes)))
