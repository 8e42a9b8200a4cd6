"""Everything this package raises.

KlaviyoNbError             where, what, and the next command to type
├── UsageError             a flag, setting or argument is wrong; exit status 2
├── SourceError            a log source, metrics server or status page could not be read
│   ├── SourceMissing      it is not there
│   └── SourceDenied       it is there and refused us (HTTP 401 or 403, or EACCES)
├── EvidenceError          a folder is not evidence, or cannot be read as such
├── ReportError            a report could not be written or sealed
├── Stopped                Ctrl-C, and something is left that can be gone on with; exit status 130
└── RedactionError         text could not be redacted, so it was withheld

While collecting, a `SourceError` becomes a `Gap` in the evidence: during an outage the failure is the
measurement.
"""


class KlaviyoNbError(Exception):
    """Base of all errors here.

    Attributes:
        where: The setting, file or address it is about.
        what: What is wrong with it, one short line.
        hint: The next command to type, or None.
    """

    def __init__(self, where: str, what: str, hint: str | None = None) -> None:
        super().__init__(where, what, hint)  # all of them, so that it pickles across processes
        self.where, self.what, self.hint = where, what, hint

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class UsageError(KlaviyoNbError):
    """A flag, setting or argument is wrong."""


class SourceError(KlaviyoNbError):
    """A source of evidence could not be read."""


class SourceMissing(SourceError):
    """The source is not there."""


class SourceDenied(SourceError):
    """The source answered and refused us (HTTP 401 or 403, or EACCES)."""


class EvidenceError(KlaviyoNbError):
    """A folder is not evidence, or cannot be read as such."""


class ReportError(KlaviyoNbError):
    """A report could not be written or sealed."""


class Stopped(KlaviyoNbError):
    """Ctrl-C, and something is left that can be gone on with."""


class RedactionError(KlaviyoNbError):
    """Text could not be redacted, so it was withheld."""
