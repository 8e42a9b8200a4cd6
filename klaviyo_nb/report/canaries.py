"""Canaries: made-up secrets that go through what real ones go through, before a report is sealed.

A key, an address, a phone number and a password without any shape are made up for each run and written in
every encoding into a log and a notebook that are no part of the report. The same reader, writer, kernel,
converter and redactor work on them as on the rest. If one can still be read, the report is not sealed.
"""

from __future__ import annotations

import base64
import io
import json
import pickle
import random
import re
import string
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from klaviyo_nb.evidence import Evidence
from klaviyo_nb.frames import CALLS
from klaviyo_nb.report.manifest import pictures, swept
from klaviyo_nb.window import Window, iso

if TYPE_CHECKING:
    from klaviyo_nb.logs.chunks import Part, Task
    from klaviyo_nb.logs.engines import Engine, Share
    from klaviyo_nb.redact import Redactor


def _in_lines(text: str) -> str:
    """As in the body of a mail, where it lies across the end of a line."""
    return base64.encodebytes(f"{'X-Note: ':<50}{text}".encode()).decode().strip()


_LOWER_URL = re.compile("%..")


def _all_as(form: str) -> Callable[[str], str]:
    """No letter as it is: each by its number."""
    return lambda text: "".join(form.format(ord(letter)) for letter in text)


#: Name → how a text is written.
ENCODINGS: dict[str, Callable[[str], str]] = {
    "raw": str,
    "URL": lambda text: quote(text, safe=""),
    "URL, lower case": lambda text: _LOWER_URL.sub(lambda hit: hit[0].lower(), quote(text, safe="")),
    "URL, twice": lambda text: quote(quote(text, safe=""), safe=""),
    "JSON": lambda text: json.dumps({"value": text}),
    "JSON in JSON": lambda text: json.dumps(json.dumps({"value": text})),
    "JSON, escaped": lambda text: "".join(rf"\u{ord(c):04x}" if c in "@+" else c for c in text),
    "JSON, all escaped": _all_as(r"\u{:04x}"),
    "URL, all escaped": _all_as("%{:02x}"),
    "HTML, all escaped": _all_as("&#{};"),
    "Python, all escaped": _all_as(r"\x{:02x}"),
    "mail, all escaped": _all_as("={:02X}"),
    "hexadecimal": lambda text: text.encode().hex(),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 after 1": lambda text: base64.b64encode(f"u{text};".encode()).decode(),
    "base64 after 2": lambda text: base64.b64encode(f"u:{text};".encode()).decode(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64 of UTF-16": lambda text: base64.b64encode(text.encode("utf-16")).decode(),
    "base64 in lines": _in_lines,
    "base64 in lines, JSON": lambda text: json.dumps({"body": _in_lines(text)}),
    "Python": lambda text: repr({"value": text}),
    "traceback": lambda text: f'  File "app.py", line 7, in send\n    raise ValueError({text!r})',
    "process title": lambda text: f"4711 ? Ssl 0:02 node worker.js {text} --queue q1",
    "HTML": lambda text: f"<td>{escape(text)}</td>",
    "CSV": lambda text: f'1,"{text}",2',
}


@dataclass(frozen=True)
class Canaries:
    """What was made up for one run.

    Attributes:
        key: As a key of Klaviyo's.
        email: An address.
        phone: A number with its country's.
        password: Of no shape: known only by a name that stands beside it, at the very end.
    """

    key: str
    email: str
    phone: str
    password: str

    @classmethod
    def hatch(cls, rng: random.Random) -> Canaries:
        """New ones."""
        letters = string.ascii_letters + string.digits
        some = ["".join(rng.choices(letters, k=length)) for length in (34, 10, 18)]
        number = "".join(rng.choices(string.digits, k=8))
        return cls(
            f"pk_{some[0]}",
            f"canary.{some[1].lower()}@nest-{number}.example",
            f"+4479{number}",
            f"{some[2]}7q",
        )

    def values(self) -> tuple[str, ...]:
        """All of them."""
        return self.key, self.email, self.phone, self.password

    def lines(self) -> Iterator[str]:
        """All of them in every encoding; what tells the password stands last."""
        for name, write in ENCODINGS.items():
            for value in self.values():
                yield f"{name}: {write(value)}"
        yield f"GET /in?api_key={self.password}"


def hatched() -> Canaries:
    """New ones that nobody can guess."""
    return Canaries.hatch(random.SystemRandom())


def logged(redactor: Redactor, now: datetime, canaries: Canaries) -> dict[str, str]:
    """What evidence of a log with them says, redacted, by the name of a text.

    Args:
        redactor: The one of this run.
        now: When; the lines of the log are written then.
        canaries: What the log has.
    """
    return redactor.in_all(_read(canaries, redactor, now))


def readable(
    redactor: Redactor, canaries: Canaries, evidence: Mapping[str, str], notebook: Path
) -> list[str]:
    """Where a canary can still be read after all that a report's texts go through: nowhere, or do not seal.

    Args:
        redactor: The one of this run.
        canaries: Those that `notebook` has.
        evidence: As `logged` gave it.
        notebook: What `plant` has written, run.
    """
    texts = {**evidence, **_notebook(canaries, notebook)}
    texts = {name: swept(text, redactor.text) for name, text in texts.items()}
    drawn = {name: b"".join(pictures(text)).decode("latin-1") for name, text in texts.items()}
    texts |= {f"a picture of {name}": words for name, words in drawn.items() if words}
    forms = {
        f"{kind} as {name}": write(value).strip('"\n')
        for name, write in ENCODINGS.items()
        for kind, value in asdict(canaries).items()
    }
    forms |= {f"{kind} in JSON": json.dumps(form)[1:-1] for kind, form in forms.items()}
    return [
        f"{kind} in {name}" for name, text in texts.items() for kind, form in forms.items() if form in text
    ]


def told() -> dict[str, int]:
    """What a sealed report tells of them: every value was planted in every encoding, none could be read."""
    return {"planted": len(ENCODINGS) * len(fields(Canaries)), "encodings": len(ENCODINGS), "readable": 0}


def _read(canaries: Canaries, redactor: Redactor, now: datetime) -> dict[str, str]:
    """A log with them, in lines, in its file's name, in titles of processes, as the report's evidence has it.

    It is read in chunks, as logs are: here, and as by what travels to workers and to those of a cluster.
    """
    from klaviyo_nb.logs import read

    title = f"node worker.js --to {canaries.email} --key {canaries.key} --sms {canaries.phone}"
    call = {"time": iso(now), "method": "POST", "url": "https://a.klaviyo.com/api/events", "status": 503}
    with tempfile.TemporaryDirectory(prefix="klaviyo-nb-canaries-") as folder:
        path = Path(folder, f"app {canaries.email} {canaries.key} {canaries.phone}.log")
        padded = ("x" * (at % 40 * 12) + " " + line for at, line in enumerate(canaries.lines()))
        path.write_text(
            "".join(json.dumps(call | {"process": title, "msg": line}) + "\n" for line in padded), "utf-8"
        )
        window = Window(now - timedelta(hours=1), now + timedelta(hours=1))
        engines: dict[str, str | Engine] = {
            "evidence": "local:1",
            "evidence of a worker": _Away(far=False),
            "evidence of a cluster": _Away(far=True),
        }
        found = {
            name: read([str(path)], window, redact=redactor.text, engine=engine)
            for name, engine in engines.items()
        }
    coverage = tuple(each for one in found.values() for each in one.coverage)
    header = Evidence(window, now, coverage=coverage, context={"logs": [path.name]}).header()
    texts = {name: CALLS.to_csv(one.calls) for name, one in found.items()}
    return texts | {"header": json.dumps(header, indent=2)}


@dataclass(frozen=True, slots=True)
class _Away:
    """An engine whose tasks and results travel as they would to a worker, or, if `far`, to a cluster's."""

    far: bool

    def map(
        self,
        function: Callable[[Task], list[Part]],
        tasks: Sequence[Task],
        stays: Callable[[Task], bool],
        share: Share | None = None,
    ) -> Generator[list[Part], None, None]:
        """See `Engine.map`."""
        from klaviyo_nb.logs.cluster import cleaned, fit_to_leave

        for task in tasks:
            sent = pickle.dumps((function, fit_to_leave(task) if self.far else task))
            read, there = pickle.loads(sent)  # noqa: S301 - pickled just now
            parts = pickle.loads(pickle.dumps(read(there)))  # noqa: S301
            yield cleaned(parts, task) if self.far else parts


def plant(canaries: Canaries, path: Path) -> None:
    """Write a notebook whose cells print them, show them in every way, draw them, and fail with them."""
    import nbformat
    from nbformat import v4

    text = "\n".join(canaries.lines())
    cells = [v4.new_code_cell(source) for source in _CELLS]
    # Not as parameters: papermill tells the terminal of those that it cannot read.
    given = v4.new_code_cell('evidence: str = ""', metadata={"tags": ["parameters"], "note": text})
    made = v4.new_code_cell(f"note, picture = {text!r}, {_picture(canaries)!r}")
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    about = {"kernelspec": kernel, "language_info": {"name": "python"}, "note": text}
    nbformat.write(v4.new_notebook(cells=[given, made, *cells], metadata=about), path)


#: What each cell does with `note` and `picture`; the last one fails.
_CELLS = (
    "import base64, sys\n"
    "from html import escape\n"
    "from IPython.display import HTML, JSON, SVG, Image, Markdown, display\n"
    "from klaviyo_nb.report import canvas, show\n"
    "print(note); print(note, file=sys.stderr)",
    "display(HTML(f'<p>{note}</p>'), Markdown(note), JSON({'note': note}))\n"
    "display(SVG(f'<svg><desc>{escape(note)}</desc></svg>'))\n"
    "Image(base64.b64decode(picture))",
    "drawn = canvas.message('Canaries', note)\n"
    "drawn.figure.set_label(note)\n"
    "display(show.figure(drawn.figure), show.table(drawn.table), show.text(note))\n"
    "print(canvas.save_svg(drawn.figure, note, note))",
    "raise ValueError(note)",
)


def _notebook(canaries: Canaries, executed: Path) -> dict[str, str]:
    """A notebook that was run, with them in its parameters too, and the page of it."""
    import nbformat
    from nbformat import v4

    from klaviyo_nb.report.pages import notebook_html

    text, book = "\n".join(canaries.lines()), nbformat.read(executed, 4)
    book.metadata.setdefault("papermill", {})["parameters"] = {"note": text}
    about = {"tags": ["injected-parameters"], "note": canaries.email}
    book.cells.insert(0, v4.new_code_cell(f"note = {text!r}", metadata=about))
    with tempfile.TemporaryDirectory(prefix="klaviyo-nb-canaries-") as folder:
        source, page = Path(folder, "canary.ipynb"), Path(folder, "canary.html")
        nbformat.write(book, source)
        notebook_html(source, page)
        return {"notebook": source.read_text("utf-8"), "page": page.read_text("utf-8")}


def _picture(canaries: Canaries) -> str:
    """One grey dot, as notebooks hold it, that tells them in what is written beside it."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    words, beside, png = " ".join(canaries.values()), PngInfo(), io.BytesIO()
    beside.add_text("Comment", words)
    Image.new("L", (1, 1)).save(png, "png", pnginfo=beside, exif=words.encode())
    return base64.b64encode(png.getvalue()).decode()
