"""Make a report: evidence, notebooks, charts and texts into one sealed folder, and its archive.

All is written into a hidden folder beside the final one, which gets its name when it is sealed: what a killed
run leaves behind looks like what it is, and what was collected can be read there.

What draws and converts is imported late: the fork server does its own imports meanwhile.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import platform
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from klaviyo_nb.claims import claimed
from klaviyo_nb.errors import RedactionError, ReportError
from klaviyo_nb.evidence import Gap, together
from klaviyo_nb.folder import header, save
from klaviyo_nb.report import manifest, signing
from klaviyo_nb.report.forks import ForkFailed, called, fork_server, give_back, kernel_environment
from klaviyo_nb.start import utc_now
from klaviyo_nb.window import iso

if TYPE_CHECKING:
    import pandas as pd

    from klaviyo_nb.evidence import Evidence
    from klaviyo_nb.redact import Redactor
    from klaviyo_nb.report.forks import ForkServer
    from klaviyo_nb.report.made import Made, NotebookRun


#: With more evidence than this [bytes], drawing and notebooks come one after the other: each holds much.
LARGE = 16_000_000


@dataclass(frozen=True, slots=True)
class Bundle:
    """A sealed report.

    Attributes:
        path: Its folder.
        zip: Its archive, beside it.
        digest: SHA-256 of `SHA256SUMS`, in hexadecimal digits: what to note elsewhere.
        problems: What went wrong in a notebook or collector, one line each.
    """

    path: Path
    zip: Path
    digest: str
    problems: tuple[str, ...]

    @property
    def partial(self) -> bool:
        """Did anything go wrong?"""
        return bool(self.problems)


def make(
    evidence: Evidence,
    *,
    out: Path,
    incident: str,
    lead: str | None,
    redactor: Redactor,
    progress: Callable[[str], None] = lambda _: None,
    clock: Callable[[], datetime] = utc_now,
    source: Path | None = None,
    limit_s: float | None = None,
    key: Path | None = None,
) -> Bundle:
    """Write and seal `out/incident` and `out/incident.zip`. Not to be called inside a running event loop.

    Args:
        evidence: What was collected.
        out: Folder of reports; made if it is not there.
        incident: Name of the incident, fit to name a folder.
        lead: Who leads it, or None.
        redactor: What every text passes through before it is sealed.
        progress: Told what has been done, one short line each.
        clock: The wall clock.
        source: Folder of the notebooks; None: the shipped ones.
        limit_s: Wall clock for one notebook [s]; None: `run.LIMIT_S`.
        key: SSH key to sign it with.

    Raises:
        ReportError: The report exists, or another run is writing it, or the folder cannot be written.
        Stopped: Ctrl-C, when all that was collected had been written.
    """
    another = f"klaviyo-nb bundle --incident {incident}-2"
    with (
        claimed(out / incident, another, progress) as folder,
        fork_server(kernel_environment(os.environ)) as server,
    ):
        kept = keep(evidence, folder, redactor, progress)
        return seal(
            kept, folder, out / incident, lead=lead, redactor=redactor, progress=progress, clock=clock,
            source=source, limit_s=limit_s, server=server, key=key,
        )  # fmt: skip


def keep(
    evidence: Evidence, folder: Path, redactor: Redactor, progress: Callable[[str], None] = lambda _: None
) -> Evidence:
    """Write evidence into a bundle in the making; what the manifest tells of it is given back.

    Its frames stay with whoever has them, and should be let go: what is made of them is made elsewhere.

    Raises:
        OSError: It cannot be written.
    """
    save(evidence, folder / "evidence", redactor.text)
    progress("evidence is written")
    # A file's name may hold an address: what is told of sources is what was written, without it.
    written = header(folder / "evidence")
    return replace(
        evidence, **written, calls=None, earlier=None, webhooks=None, metrics=_ends(evidence.metrics)
    )


def _ends(metrics: pd.DataFrame | None) -> pd.DataFrame | None:
    """The first and the last sample, which is what a manifest tells of."""
    if metrics is None or metrics.empty:
        return metrics
    return metrics.loc[[metrics["timestamp"].idxmin(), metrics["timestamp"].idxmax()]].copy()


def seal(
    kept: Evidence,
    folder: Path,
    target: Path,
    *,
    lead: str | None,
    redactor: Redactor,
    progress: Callable[[str], None],
    server: ForkServer | None,
    clock: Callable[[], datetime] = utc_now,
    source: Path | None = None,
    limit_s: float | None = None,
    key: Path | None = None,
) -> Bundle:
    """Make a report of the evidence that `keep` has written, seal it, and give it its name.

    Args:
        kept: As `keep` gave it.
        folder: As `claims.claimed` gave it for `target`.
        target: The report; its name is that of the incident.
        lead: As of `make`, and so are all that are not told of here.
        redactor: The one that the evidence was written with.
        progress: See `make`.
        server: Where kernels are forked from, started while there was time; None: they are started plainly.
        clock: See `make`.
        source: See `make`.
        limit_s: See `make`.
        key: See `make`.

    Raises:
        OSError: It cannot be written.
    """
    told = redactor.text(target.name), redactor.text(lead) if lead else None
    maker = _Maker(folder, *told, redactor, progress, clock)
    digest = asyncio.run(maker.fill(kept, source, limit_s, server))
    if key and (trouble := signing.sign(folder, key)):
        maker.problems.append(trouble)
    packed, archived = folder.with_name(f"{folder.name}.zip"), target.with_name(f"{target.name}.zip")
    manifest.archive(folder, packed, target.name)
    folder.rename(target)
    packed.rename(archived)
    return Bundle(target, archived, digest, tuple(maker.problems))


@dataclass
class _Maker:
    """Fills one folder; remembers what went wrong."""

    folder: Path
    incident: str
    lead: str | None
    redactor: Redactor
    progress: Callable[[str], None]
    clock: Callable[[], datetime]
    problems: list[str] = field(default_factory=list)
    _acquired: dict[str, str] = field(default_factory=dict)
    _converting: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def fill(
        self, kept: Evidence, source: Path | None, limit_s: float | None, server: ForkServer | None
    ) -> str:
        """Everything but the archive; returns the digest."""
        asyncio.get_running_loop().set_exception_handler(_on_the_way_out)
        self._note(kept)
        large = self._size() > LARGE
        if large:
            gc.collect()  # rings of callers that hold frames
        give_back()
        from klaviyo_nb.report import run

        canaries, drawing = await self._begin(server, large)
        runs = await run.run_all(
            self.folder, "../evidence", incident=self.incident, lead=self.lead or "", server=server,
            source=source, redact=self.redactor.text, on_done=self._page, limit_s=limit_s or run.LIMIT_S,
            at_once=1 if large else run.AT_ONCE,
        )  # fmt: skip
        made = await drawing
        self._write(made)
        await asyncio.to_thread(self._sweep)
        hashes = await asyncio.to_thread(self._unchanged)
        await canaries
        await self._write_page(server, runs, made)
        self._sweep(["index.html"])
        self._tell_redaction()
        about = {
            "incident": self.incident,
            "lead": self.lead,
            "window": kept.window.as_json(),
            "collected_at": iso(kept.collected_at),
            "partial": bool(self.problems),
            "problems": self.problems,
            "notebooks": [asdict(each) for each in runs],
            "python": platform.python_version(),
            "drawn_with": manifest.drawn_with(),
        }
        return manifest.seal(self.folder, about, kept, iso(self.clock()), self._acquired, hashes)

    async def _begin(
        self, server: ForkServer | None, large: bool
    ) -> tuple[asyncio.Task[None], asyncio.Task[Made]]:
        """Try made-up secrets, let the server read ahead, draw; one after the other if it is `large`."""
        canaries = asyncio.create_task(self._fly(server))
        if large:
            await canaries
            give_back()
        elif server:  # its kernel needs no evidence: it is to be forked before the server reads that
            asked = asyncio.create_task(server.asked.wait())
            await asyncio.wait((canaries, asked), return_when=asyncio.FIRST_COMPLETED)
            asked.cancel()
        ahead = asyncio.create_task(server.read_ahead(self.folder / "evidence")) if server else None
        if ahead:
            await ahead
        drawing = asyncio.create_task(self._draw(server))
        if large:
            await drawing
        return canaries, drawing

    def _note(self, evidence: Evidence) -> None:
        """Remember how the evidence was when it was acquired, and what is missing of it."""
        self._acquired = self._hashed()
        failed = [Gap(each.source, each.gap) for each in evidence.coverage if each.gap]
        failed += [gap for gap in evidence.gaps if gap.signal == "metrics" and gap.configured]
        self._trouble([f"{gap.signal}: {gap.reason}" for gap in together(failed)])

    def _hashed(self) -> dict[str, str]:
        names = (name for name in manifest.files(self.folder) if name.startswith("evidence/"))
        return manifest.hashed(self.folder, names)

    def _size(self) -> int:
        return sum(path.stat().st_size for path in (self.folder / "evidence").iterdir())

    def _unchanged(self) -> dict[str, str]:
        """The evidence's hashes once more; tell what is not as it was when it was acquired."""
        now = self._hashed()
        for name in sorted(now.keys() | self._acquired.keys()):
            if now.get(name) != self._acquired.get(name):
                self._trouble([f"{name}: {manifest.CHANGED}"])
        return now

    async def _draw(self, server: ForkServer | None) -> Made:
        """Charts and texts: what needs no notebook."""
        drawn: Made = await _called(server, "draw", self.folder.resolve(), self.incident, self.lead)
        self.progress(f"{len(drawn.charts)} charts are drawn")
        return drawn

    async def _page(self, result: NotebookRun, path: Path) -> None:
        async with self._converting:  # the exporter is not made for two at once
            await asyncio.to_thread(_convert, path)
        if result.error:
            self._trouble([f"notebooks/{result.name}.ipynb: {result.error}"])
        self.progress(f"notebook {result.name}: {result.status} in {result.seconds:.1f} s")

    def _write(self, made: Made) -> None:
        for name, text in made.texts.items():
            path = self.folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, "utf-8")

    async def _write_page(self, server: ForkServer | None, runs: list[NotebookRun], made: Made) -> None:
        """Written last: it tells what went wrong with all the others."""
        folder = self.folder.resolve()
        page = await _called(server, "page", folder, made, runs, self.incident, self.lead, self.problems)
        (self.folder / "index.html").write_text(page, "utf-8")

    def _sweep(self, names: Sequence[str] | None = None) -> None:
        """Redact texts once more, and note what was found where. What cannot be redacted is withheld."""
        for name in names or manifest.files(self.folder):
            if name.startswith("evidence/") or name.endswith(manifest.PICTURES):
                continue  # evidence passed through the redactor as it was written
            try:
                text = (self.folder / name).read_text("utf-8")
                clean = manifest.swept(text, self.redactor.text)
            except (RedactionError, UnicodeDecodeError) as exc:
                (self.folder / name).unlink()
                self._trouble([f"{name}: withheld, it could not be redacted: {exc}"])
                continue
            if clean != text:
                (self.folder / name).write_text(clean, "utf-8")

    async def _fly(self, server: ForkServer | None) -> None:
        """Look whether made-up secrets can be read that went through a kernel and all else."""
        from klaviyo_nb.report import canaries, run

        mine = canaries.hatched()
        with TemporaryDirectory(prefix="klaviyo-nb-") as scratch:
            folder = Path(scratch)
            canaries.plant(mine, folder / "canary.ipynb")
            # the log needs no kernel: it is read while the server still imports
            (ran,), logged = await asyncio.gather(
                run.run_all(folder, "", server=server, source=folder, names=["canary"]),
                asyncio.to_thread(canaries.logged, self.redactor, self.clock(), mine),
            )
            if not (ran.error or "").startswith("ValueError: "):  # its last cell raises that
                self._trouble([f"made-up secrets did not go through a kernel: {ran.error}"])
            executed = folder / "notebooks" / "canary.ipynb"
            left = await asyncio.to_thread(canaries.readable, self.redactor, mine, logged, executed)
        if left:
            raise ReportError(
                str(self.folder),
                f"not sealed: a made-up secret could still be read after redaction: {left[0]}",
                f"klaviyo-nb diagnose {quote(str(self.folder / 'evidence'))}; give nothing of it away",
            )

    def _tell_redaction(self) -> None:
        from klaviyo_nb.report.canaries import told

        report = manifest.redaction(self.folder, told())
        (self.folder / manifest.REDACTION).write_text(json.dumps(report, indent=2) + "\n", "utf-8")
        total = sum(row["count"] for row in report["found"])
        stand = "mark stands" if total == 1 else "marks stand"
        self.progress(f"{total:,} {stand} where secrets and personal data were taken out")

    def _trouble(self, what: Sequence[str]) -> None:
        self.problems += [self.redactor.text(line) for line in what]


async def _called(server: ForkServer | None, name: str, *arguments: object) -> Any:
    """What a function of `drawing` gives, in a fork; else here, which says why it fails."""
    where = f"klaviyo_nb.report.drawing:{name}"
    if server is not None:
        with suppress(ForkFailed):
            return await server.call(where, *arguments)
    return await asyncio.to_thread(called, where, *arguments)


def _on_the_way_out(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """The first file that could not be written ends all, and is told; the others are no news."""
    if not isinstance(context.get("exception"), OSError):
        loop.default_exception_handler(context)


def _convert(notebook: Path) -> None:
    from klaviyo_nb.report.pages import notebook_html  # takes a while: not in the event loop

    notebook_html(notebook, notebook.with_suffix(".html"))
