"""The decision tree, as a value: it walks, explains itself and draws itself.

One question reads one fact. A question that nothing answered is walked along its `unknown` branch, one whose
answer is only presumed along that answer, and either way the causes on its other branches stay alive as
rivals: what was not seen may weaken a verdict, never turn it into another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from klaviyo_nb.diagnosis.facts import Facts
from klaviyo_nb.diagnosis.verdict import Cause, Step
from klaviyo_nb.klaviyo.answers import Failure


@dataclass(frozen=True, slots=True)
class Question:
    """One question.

    Attributes:
        text: As a person would ask it.
        fact: The field of `Facts` that answers it.
        branches: Answer → the next question, or a cause.
        signal: What has to be asked to get the fact; a gap of that name explains an unknown answer.
        ask: What would answer it, as an instruction.
        unknown: The branch to walk when nothing answered; None: stop, undecided.
        unproven: Causes that cannot be named while this question is open.
    """

    text: str
    fact: str
    branches: Mapping[str, Question | Cause]
    signal: str
    ask: str
    unknown: str | None = None
    unproven: frozenset[Cause] = frozenset()


FAILING_SERVER = Question(
    "Is everything silent, the API and the status page alike?",
    "nothing_answers",
    {
        "yes": "network_unreachable",
        "no": Question(
            "Does Klaviyo acknowledge an incident that concerns the failing calls?",
            "acknowledged",
            {
                "yes": "klaviyo_outage",
                "no": Question(
                    "Do the failures fall on one endpoint, and the rest is well?",
                    "one_endpoint",
                    {"yes": "endpoint_degraded", "no": "klaviyo_server_error"},
                    signal="logs",
                    ask="give the application's logs, which name the endpoints: --logs PATH",
                    unknown="no",
                ),
            },
            signal="status_page",
            ask="open the status page from another network",
            unknown="no",
        ),
    },
    signal="status_page",
    ask="ask the API and the status page from another network",
    unknown="no",
)

FAILING = Question(
    "What do most of the failures look like?",
    "failure",
    {
        "unauthorized": "invalid_key",
        "forbidden": "missing_scope",
        "throttled": "rate_limited",
        "invalid": "invalid_request",
        "unreachable": "network_unreachable",
        "server": FAILING_SERVER,
    },
    signal="logs",
    ask="give the application's logs, which carry status codes: --logs PATH",
)

OUR_SIDE = Question(
    "Is our application well?",
    "app_healthy",
    {
        "no": "app_unhealthy",
        "yes": Question(
            "Do webhooks arrive?",
            "webhooks_arrive",
            {
                "no": "webhook_endpoint_down",
                "yes": Question(
                    "Are calls slow, against the threshold and against the quiet part of the window?",
                    "slow",
                    {
                        "yes": "klaviyo_server_error",
                        "no": Question(
                            "Did calls fail earlier in the window?",
                            "failed_earlier",
                            {"yes": "resolved_or_intermittent", "no": "healthy"},
                            signal="logs",
                            ask="give logs or metrics over the window: --logs PATH, --metrics URL",
                            unknown="no",
                        ),
                    },
                    signal="logs",
                    ask="give logs or metrics that carry durations: --logs PATH, --metrics URL",
                    unknown="no",
                ),
            },
            signal="webhook",
            ask="set KLAVIYO_NB_WEBHOOK_URL to the public webhook route",
            unknown="yes",
        ),
    },
    signal="app_health",
    ask="set KLAVIYO_NB_HEALTH_URL to the application's health endpoint",
    unknown="yes",
)

TREE = Question(
    "Are Klaviyo calls failing?",
    "failing",
    {"yes": FAILING, "no": OUR_SIDE},
    signal="auth",
    ask="set KLAVIYO_PRIVATE_KEY, or give the application's logs: --logs PATH",
    unknown="no",
    unproven=frozenset({"healthy", "resolved_or_intermittent", "klaviyo_server_error"}),
)


def cause_of(kind: Failure) -> Cause:
    """What failures of one kind mean by themselves, whoever acknowledges them and wherever they fall."""
    branch = FAILING.branches[kind]
    return branch if isinstance(branch, str) else "klaviyo_server_error"


@dataclass(frozen=True, slots=True)
class Walk:
    """One walk through the tree.

    Attributes:
        cause: The leaf reached, or `inconclusive`.
        steps: The questions asked, in order.
        alive: Causes on branches that unanswered questions or presumed answers left open, and which question.
    """

    cause: Cause
    steps: tuple[Step, ...]
    alive: tuple[tuple[Cause, Question], ...]


def walk(facts: Facts, tree: Question = TREE, unused: frozenset[str] = frozenset()) -> Walk:
    """Walk the tree.

    Args:
        facts: What was observed.
        tree: Where to start.
        unused: Signals nobody configured. What is not in use cannot be failing, so it leaves no rival.
    """
    steps: list[Step] = []
    alive: list[tuple[Cause, Question]] = []
    unproven: set[Cause] = set()
    node: Question | Cause | None = tree
    while isinstance(node, Question):
        answer = _answer(facts, node)
        steps.append(
            Step(node.text, answer or "unknown", facts.evidence.get(node.fact, ()), _because(facts, node))
        )
        chosen = answer or node.unknown
        taken = node.branches[chosen] if chosen else None
        if answer is None:
            unproven |= node.unproven
        if node.fact in facts.presumed or (answer is None and (node.signal not in unused or node.unproven)):
            others = (branch for branch in node.branches.values() if branch is not taken)
            alive += [(leaf, node) for branch in others for leaf in leaves(branch)]
        node = taken
    if node is None or node in unproven:
        node = "inconclusive"
    return Walk(node, tuple(steps), _distinct(alive, but=node))


def leaves(node: Question | Cause) -> Iterator[Cause]:
    """The causes below a node, in order, each once."""
    if not isinstance(node, Question):
        yield node
        return
    yield from dict.fromkeys(leaf for branch in node.branches.values() for leaf in leaves(branch))


def questions(node: Question | Cause = TREE) -> Iterator[Question]:
    """All questions below a node, from the top."""
    if isinstance(node, Question):
        yield node
        for branch in node.branches.values():
            yield from questions(branch)


def as_text(node: Question | Cause = TREE) -> str:
    """The tree as indented text."""
    return "\n".join(_lines(node, "")) + "\n"


def as_mermaid(tree: Question = TREE) -> str:
    """The tree as a Mermaid flowchart."""
    lines = ["flowchart TD"]
    _mermaid(tree, "n", lines)
    return "\n".join(lines) + "\n"


def _answer(facts: Facts, question: Question) -> str | None:
    value = getattr(facts, question.fact)
    if value is None:
        return None
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def _because(facts: Facts, question: Question) -> str:
    said, doubt = facts.because.get(question.fact, ""), facts.presumed.get(question.fact)
    return f"{said} (presumed: {doubt})" if doubt else said


def _distinct(alive: list[tuple[Cause, Question]], but: Cause) -> tuple[tuple[Cause, Question], ...]:
    first: dict[Cause, Question] = {}
    for cause, question in alive:
        first.setdefault(cause, question)
    return tuple((cause, question) for cause, question in first.items() if cause != but)


def _lines(node: Question | Cause, indent: str) -> Iterator[str]:
    if not isinstance(node, Question):
        yield f"{indent}→ {node}"
        return
    yield f"{indent}{node.text}"
    for number, (answer, branch) in enumerate(node.branches.items()):
        last = number == len(node.branches) - 1
        stem, rest = ("└─", "   ") if last else ("├─", "│  ")
        if isinstance(branch, Question):
            yield f"{indent}{stem} {answer}"
            yield from _lines(branch, f"{indent}{rest}")
        else:
            yield f"{indent}{stem} {answer} → {branch}"


def _mermaid(node: Question | Cause, name: str, lines: list[str]) -> None:
    if not isinstance(node, Question):
        lines.append(f'    {name}(["{node}"])')
        return
    lines.append(f'    {name}{{"{node.text}"}}')
    for answer, branch in node.branches.items():
        _mermaid(branch, f"{name}_{answer}", lines)
        lines.append(f'    {name} -->|"{answer}"| {name}_{answer}')


def as_json(node: Question | Cause = TREE) -> dict[str, Any] | str:
    """The tree as plain values: `{"question", "fact", "answers": {answer: …}}` or a cause."""
    if not isinstance(node, Question):
        return node
    return {
        "question": node.text,
        "fact": node.fact,
        "answers": {answer: as_json(branch) for answer, branch in node.branches.items()},
    }
