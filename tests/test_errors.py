"""Errors say where, what and what to type next, and survive a trip between processes."""

from __future__ import annotations

import copy
import pickle

import pytest

from klaviyo_nb import errors

ALL = [
    each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, errors.KlaviyoNbError)
]


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("hint", [None, "klaviyo-nb triage"])
def test_every_error_survives_a_trip_between_processes(
    kind: type[errors.KlaviyoNbError], hint: str | None
) -> None:
    for again in (
        pickle.loads(pickle.dumps(kind("here", "is wrong", hint))),
        copy.copy(kind("here", "is wrong", hint)),
    ):
        assert type(again) is kind
        assert (again.where, again.what, again.hint) == ("here", "is wrong", hint)
        assert str(again) == "here: is wrong"


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    assert errors.__doc__ is not None
    for kind in ALL:
        assert kind.__name__ in errors.__doc__
    assert issubclass(errors.SourceDenied, errors.SourceError)
    assert not issubclass(errors.UsageError, errors.SourceError)


def test_catching_a_source_error_does_not_catch_a_usage_error() -> None:
    def fails() -> None:
        try:
            raise errors.UsageError("--since", "is not a duration")
        except errors.SourceError:
            pytest.fail("caught as a source's trouble")

    with pytest.raises(errors.UsageError):
        fails()
