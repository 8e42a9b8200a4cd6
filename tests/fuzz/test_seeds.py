"""What the fuzzer asserts, of its seeds as they are; .ci/run lets it go on from there."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.checks import check, seeds
from tests.fuzz.fuzz_logs import dictionary


@pytest.mark.parametrize("part", range(4))
def test_all_that_is_asserted_holds_of_the_samples(part: int) -> None:
    for seed in seeds()[part::16]:
        check(seed)


def test_samples_that_follow_each_other_are_told_apart() -> None:
    rng = random.Random(3)
    for _ in range(40):
        check(b"\n".join(rng.sample(seeds(), 5)))


def test_words_for_the_fuzzer_are_in_its_form() -> None:
    assert dictionary([b'{"url":"klaviyo klaviyo url']) == '"url"\n"klaviyo"\n'
