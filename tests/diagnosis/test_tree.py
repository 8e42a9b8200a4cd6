"""The tree as a value: every cause is reachable, unknown weakens and never flips."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klaviyo_nb.diagnosis.facts import Facts
from klaviyo_nb.diagnosis.tree import TREE, as_json, as_mermaid, as_text, leaves, questions, walk
from klaviyo_nb.diagnosis.verdict import Cause
from klaviyo_nb.klaviyo.answers import Failure

ASKED = [question.fact for question in questions()]
BOOL = st.sampled_from([True, False, None])
FACTS = st.builds(
    Facts,
    failure=st.sampled_from([*get_args(Failure), None]),
    **{fact: BOOL for fact in ASKED if fact != "failure"},
)


def test_every_cause_of_the_contract_is_a_leaf_or_inconclusive() -> None:
    assert {*leaves(TREE), "inconclusive"} == set(get_args(Cause))


def test_every_question_reads_a_field_of_facts_and_no_two_read_the_same() -> None:
    assert set(ASKED) <= set(Facts.__dataclass_fields__)
    assert len(ASKED) == len(set(ASKED))


def test_every_kind_of_failure_has_a_branch() -> None:
    failing = TREE.branches["yes"]
    assert not isinstance(failing, str)
    assert set(failing.branches) == set(get_args(Failure))


@given(FACTS)
def test_removing_any_fact_may_weaken_the_verdict_but_never_turns_it_into_another(facts: Facts) -> None:
    before = walk(facts)
    for fact in ASKED:
        after = walk(replace(facts, **{fact: None}))
        if after.cause not in (before.cause, "inconclusive"):
            assert after.alive, "another cause must be tentative"
            assert before.cause in {cause for cause, _ in after.alive} | {"inconclusive"}


@given(FACTS)
def test_the_walk_ends_and_names_each_question_once(facts: Facts) -> None:
    found = walk(facts)
    asked = [step.question for step in found.steps]
    assert len(asked) == len(set(asked))
    assert found.cause not in {cause for cause, _ in found.alive}


def test_nothing_observed_rules_nothing_out() -> None:
    found = walk(Facts())
    assert found.cause == "inconclusive"
    assert {cause for cause, _ in found.alive} >= {"klaviyo_outage", "invalid_key", "app_unhealthy"}


@pytest.mark.parametrize(
    ("facts", "cause"),
    [
        ({"failing": True, "failure": "unauthorized"}, "invalid_key"),
        ({"failing": True, "failure": "unauthorized", "acknowledged": True}, "invalid_key"),
        ({"failing": True, "failure": "server", "nothing_answers": True}, "network_unreachable"),
        ({"failing": True, "failure": "server", "nothing_answers": False, "acknowledged": True}, "klaviyo_outage"),
        ({"failing": True, "failure": "server", "acknowledged": False, "one_endpoint": True}, "endpoint_degraded"),
        ({"failing": True, "failure": "server", "acknowledged": None}, "klaviyo_server_error"),
        ({"failing": False, "app_healthy": False}, "app_unhealthy"),
        ({"failing": False, "app_healthy": True, "webhooks_arrive": False}, "webhook_endpoint_down"),
        ({"failing": False, "slow": True}, "klaviyo_server_error"),
        ({"failing": False, "failed_earlier": True}, "resolved_or_intermittent"),
        ({"failing": False, "app_healthy": True, "webhooks_arrive": True, "slow": False, "failed_earlier": False}, "healthy"),
        ({"failing": True}, "inconclusive"),
        ({"app_healthy": False}, "app_unhealthy"),
        ({"app_healthy": True, "failed_earlier": False}, "inconclusive"),
    ],
)  # fmt: skip
def test_facts_lead_to_the_cause(facts: dict[str, Any], cause: str) -> None:
    assert walk(Facts(**facts)).cause == cause


def test_what_nobody_uses_leaves_no_rival() -> None:
    facts = Facts(failing=False, app_healthy=True)
    assert walk(facts, unused=frozenset({"webhook", "logs"})).alive == ()
    assert {cause for cause, _ in walk(facts).alive} >= {"webhook_endpoint_down", "resolved_or_intermittent"}


def test_the_drawings_name_every_question_and_every_cause() -> None:
    for drawing in (as_text(), as_mermaid(), str(as_json())):
        for question in questions():
            assert question.text in drawing
        for cause in leaves(TREE):
            assert cause in drawing
