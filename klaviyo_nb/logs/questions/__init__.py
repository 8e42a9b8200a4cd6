"""Questions on the frames that logs were read into: frame in, frame out.

No question touches disk, net or clock. `counts` groups calls; `QUESTIONS` names the modules that are one
question each, which `klaviyo-nb logs --ask NAME` asks.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from klaviyo_nb.errors import UsageError

if TYPE_CHECKING:
    from klaviyo_nb.logs.questions.question import Question

#: Name of a question, which is its module's too → what it asks.
QUESTIONS = {
    "overview": "What fails, since when, how much of it; what is slow; is the log itself silent?",
    "templates": "Which error messages are there, how often, since when, and which are new?",
    "contrast": "Which host, worker, endpoint, caller or revision fails when others do not?",
    "ratelimit": "Which window of which limit was used up, by whom, and when does it free?",
    "scopes": "Which scopes do the refused calls need, and which has the key been seen to have?",
    "revisions": "Which API revisions are asked for, and when does each retire?",
    "retries": "How often is a call tried, and how much load do retries add?",
    "ledger": "What was delivered, refused, may have been accepted, or must be mended first?",
    "reach": "How many profiles, events, lists and flows do the failed calls touch?",
    "webhooks": "Do webhooks arrive, are their signatures accepted, and how old are they?",
}
#: Those whose answers depend on when calls were made, or how many.
WATCHED = {"overview", "templates", "contrast", "ratelimit", "retries", "ledger", "reach"}


def by_name(name: str) -> Question[Any]:
    """A question by its name; its module, and pandas with it, is imported now.

    Those about times and numbers of calls say where clocks were set back and lines stand twice.

    Raises:
        UsageError: There is none of that name.
    """
    if name not in QUESTIONS:
        hint = f"klaviyo-nb logs LOG-FILE --ask {next(iter(QUESTIONS))}    (or {', '.join([*QUESTIONS][1:])})"
        raise UsageError("--ask", f"{name!r} is not a question", hint)
    module = import_module(f"{__name__}.{name}")
    found: Question[Any] = module.QUESTION
    if name not in WATCHED:
        return found
    return cast(
        "Question[Any]", import_module(f"{__name__}.watched").watched(found, getattr(module, "doubted", None))
    )
