"""What all probes of one round share: whom to ask with, how long, how often, and where rows and gaps go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from klaviyo_nb.evidence import Budget, Gap
from klaviyo_nb.klaviyo.revisions import NEWEST
from klaviyo_nb.lines import one_line
from klaviyo_nb.probes.asking import Clients, Question, Reply, Row, ask
from klaviyo_nb.redact import harmless
from klaviyo_nb.settings import Settings

#: Requests to the API host in one round, keyless ones and second tries included.
ALLOWED = 6
LONGEST_TEXT = 300
#: Of a longer text nothing behind this is looked at.
_LONGEST_READ = 4_000


@dataclass(slots=True)
class Purse:
    """The requests that may still be spent on the API host.

    Attributes:
        allowed: How many may be sent.
        spent: How many were sent.
        shut: Why no more may be: another one would deepen what the last one met.
    """

    allowed: int = ALLOWED
    spent: int = 0
    shut: str | None = None

    def take(self) -> bool:
        """Take one request; False if there is none to take."""
        if self.shut or self.spent >= self.allowed:
            return False
        self.spent += 1
        return True

    def learn(self, row: Row) -> None:
        """Shut on a 429, or when a window of a minute or more is used up."""
        if row.get("status_code") == 429:
            self.shut = "the API answers 429"
        elif row.get("ratelimit_remaining") == 0 and (row.get("ratelimit_window_s") or 0) >= 60:
            self.shut = "the rate limit of this minute is used up"


@dataclass(slots=True)
class Round:
    """One round of probes.

    Attributes:
        settings: Whom to ask.
        clients: With what.
        clock: The wall clock.
        until: Time of the event loop at which all must be over.
        redact: What every text from outside passes through.
        on_row: Told each row as it comes.
        rows: What came.
        gaps: What could not be asked.
        purse: Requests to the API host.
    """

    settings: Settings
    clients: Clients
    clock: Callable[[], datetime]
    until: float
    redact: Callable[[str], str]
    on_row: Callable[[Row], None] | None = None
    rows: list[Row] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    purse: Purse = field(default_factory=Purse)

    @property
    def revision(self) -> str:
        """The API revision to ask for."""
        return self.settings.revision or NEWEST

    @property
    def budget(self) -> Budget:
        """Requests spent on the API host, and how many were allowed."""
        return Budget(self.purse.spent, self.purse.allowed)

    @property
    def left_s(self) -> float:
        """Seconds until the end."""
        return self.until - asyncio.get_running_loop().time()

    async def ask(self, question: Question, *, with_key: bool = False) -> Reply:
        """Ask once, with or without the key."""
        client = self.clients.with_key if with_key else self.clients.without_key(question.url)
        return await ask(client, question, self.clock, self.until)

    def emit(self, row: Row) -> None:
        """Take a row in: what others wrote in it is redacted, harmless and short from here on."""
        clean = {name: self.clean(value) if isinstance(value, str) else value for name, value in row.items()}
        self.rows.append(clean)
        if self.on_row:
            self.on_row(clean)

    def miss(self, signal: str, reason: str, *, configured: bool = True) -> None:
        """Take a gap in."""
        self.gaps.append(Gap(signal, self.clean(reason), configured))

    def clean(self, text: str, longest: int = LONGEST_TEXT) -> str:
        """One harmless, redacted line of at most `longest` characters."""
        return one_line(self.redact(harmless(text[:_LONGEST_READ])), longest)
