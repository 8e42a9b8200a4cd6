"""What the corpus says of the rules: on texts labelled by hand."""

from __future__ import annotations

from redaction.labelled import corpus, measured, missed_by_us


def test_nearly_every_secret_of_the_corpus_is_taken_out_and_what_only_looks_like_one_is_left() -> None:
    missed: list[str] = []
    figures = measured(missed_by_us, missed.append).values()
    values, found = sum(each.values for each in figures), sum(each.found for each in figures)
    alike, touched = sum(each.alike for each in figures), sum(each.touched for each in figures)
    assert found >= 0.99 * values, missed
    assert touched <= 0.05 * alike, missed


def test_the_corpus_is_as_large_as_its_figures_need() -> None:
    everything = list(corpus())
    assert sum(len(each.values) for each in everything) >= 150
    assert sum(not each.values for each in everything) >= 150
    assert len({each.text for each in everything}) == len(everything)
