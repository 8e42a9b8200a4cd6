"""What sealing and verifying share: the files of a bundle, hashes, the last look for secrets, the archive.

`SHA256SUMS` covers every other file, the manifest included, in the form that `sha256sum -c` reads. The digest
of a bundle is the SHA-256 of that file: whoever noted it elsewhere can tell whether anything was changed
since.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import re
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from klaviyo_nb import __version__
from klaviyo_nb.redact import marks
from klaviyo_nb.redaction.wrapped import before_open_end
from klaviyo_nb.window import iso

if TYPE_CHECKING:
    from klaviyo_nb.evidence import Coverage, Evidence

_Found = TypeVar("_Found")

SCHEMA = "klaviyo-nb/manifest/1"
MANIFEST, SUMS, SIGNATURE = "manifest.json", "SHA256SUMS", "SHA256SUMS.sig"
REDACTION, REDACTION_SCHEMA = "redaction.json", "klaviyo-nb/redaction/1"
PICTURES = (".png",)
#: What is told of a file of evidence with another hash than it was acquired with.
CHANGED = "it changed between acquisition and sealing"
# A picture inside a page or notebook: random letters in which a rule may find what is not there.
_PNG_HEAD = b"\x89PNG\r\n\x1a\n"
_PNG_CHUNKS = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"pHYs", b"gAMA", b"cHRM", b"sRGB",
                         b"sBIT", b"bKGD"))  # fmt: skip
_PICTURE = re.compile(r"(iVBORw0KGgo[A-Za-z0-9+/=]+)")
#: Text that is looked through at a time, and the longest block of lines that is not cut [bytes].
AT_ONCE, _LONGEST_KEY = 8_000_000, 65_536
#: ZIP knows no earlier time; every entry has it, so that the same folder gives the same archive.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def files(folder: Path) -> list[str]:
    """Every file below `folder`, as relative POSIX paths, sorted; symbolic links are not followed."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    )


def sha256(path: Path) -> str:
    """Hash of a file, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def pieces(path: Path, at_once: int = AT_ONCE) -> Iterator[str]:
    """A text of any size, some bytes at a time, cut between lines, inside no key or base64 of several."""
    with path.open("rb") as file:
        rest = b""
        while data := file.read(at_once):
            rest += data
            cut = rest.rfind(b"\n") + 1
            begin = rest.rfind(b"-----BEGIN", max(cut - _LONGEST_KEY, 0), cut)
            if begin >= 0 and b"-----END" not in rest[begin:cut]:
                cut = rest.rfind(b"\n", 0, begin) + 1  # nothing, if that is where it begins
            else:
                end = rest[max(cut - 2 * _LONGEST_KEY, 0) : cut].decode("latin-1")
                cut -= len(end) - before_open_end(end, 0, len(end))
            yield rest[:cut].decode("utf-8", "replace")
            rest = rest[cut:]
        yield rest.decode("utf-8", "replace")


def marked(path: Path) -> Counter[str]:
    """Marks of redaction in a file, by rule; a picture has none."""
    found: Counter[str] = Counter()
    if path.suffix not in PICTURES:
        with path.open("rb") as stream:
            while block := stream.read(AT_ONCE):
                found += marks(block + stream.readline())
    return found


def redaction(folder: Path, canaries: Mapping[str, int]) -> dict[str, Any]:
    """What `redaction.json` says: the marks in each file, also of what was taken out while it was read.

    Args:
        folder: The report; what is written after this file is not counted.
        canaries: What is told of the made-up secrets.
    """
    names = [name for name in files(folder) if name not in (REDACTION, MANIFEST, SUMS, SIGNATURE)]
    found = _of_each(folder, names, marked)
    return {
        "schema": REDACTION_SCHEMA,
        "canaries": dict(canaries),
        "found": _counted(sum(found.values(), Counter())),
        "files": {name: _counted(counts) for name, counts in found.items() if counts},
    }


def _counted(counts: Counter[str]) -> list[dict[str, object]]:
    """As rows: a rule's name as a key, such as `secret`, would itself look like a secret's name."""
    return [{"rule": rule, "count": count} for rule, count in sorted(counts.items())]


def swept(text: str, redact: Callable[[str], str]) -> str:
    """`text` redacted; the pictures in it stay as they are seen, without anything that is written in them."""
    parts = _PICTURE.split(text)
    return "".join(_wordless(part, redact) if index % 2 else redact(part) for index, part in enumerate(parts))


def pictures(text: str) -> Iterator[bytes]:
    """The PNGs that stand in a text."""
    for coded in _PICTURE.findall(text):
        with suppress(ValueError):
            yield base64.b64decode(coded, validate=True)


def _wordless(coded: str, redact: Callable[[str], str]) -> str:
    try:
        png = base64.b64decode(coded, validate=True)
        plain = without_words(png)
    except ValueError:  # it only begins like one
        return redact(coded)
    return coded if plain == png else base64.b64encode(plain).decode()


def without_words(png: bytes) -> bytes:
    """A PNG with no other chunks than those that make its picture: no text, no EXIF, nothing behind its end.

    Raises:
        ValueError: It is no PNG.

    Source:
        https://www.w3.org/TR/png-3/#4Concepts.FormatTypes
    """
    if not png.startswith(_PNG_HEAD):
        raise ValueError("no PNG")
    position, kept = len(_PNG_HEAD), [_PNG_HEAD]
    while position < len(png) and kept[-1][4:8] != b"IEND":
        end = position + 12 + int.from_bytes(png[position : position + 4])
        if png[position + 4 : position + 8] in _PNG_CHUNKS:
            kept.append(png[position:end])
        position = end
    return b"".join(kept)


def hashed(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Path → SHA-256, in the order of `names`."""
    return _of_each(folder, [*names], sha256)


def _of_each(folder: Path, names: Sequence[str], look: Callable[[Path], _Found]) -> dict[str, _Found]:
    """Path → what `look` finds in the file, in the order of `names`.

    Side by side, for neither hashing nor searching holds the interpreter; but telling what was found does, so
    that more threads than processors would wait for each other.
    """
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return dict(zip(names, threads.map(lambda name: look(folder / name), names), strict=True))


def drawn_with() -> str:
    """What the bytes of a drawing depend on, beside what it shows."""
    versions = [f"{name} {version(name)}" for name in ("matplotlib", "numpy", "pillow")]
    return ", ".join([*versions, platform.machine()])


def seal(
    folder: Path,
    about: Mapping[str, Any],
    evidence: Evidence,
    created_at: str,
    acquired: Mapping[str, str] = MappingProxyType({}),
    known: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Write manifest and sums of all that is in `folder`; returns the bundle's digest.

    Args:
        folder: The report, complete but for these two files.
        about: What the manifest says of the report as a whole.
        evidence: Where its numbers come from.
        created_at: ISO 8601.
        acquired: Path → SHA-256 at acquisition.
        known: Path → SHA-256 now, of what was hashed already.
    """
    hashes = hashed(folder, (name for name in files(folder) if name not in known)) | dict(known)
    head = {"schema": SCHEMA, **about, "created_at": created_at, "tool_version": __version__}
    manifest = head | {"files": entries(folder, head, evidence, hashes, acquired)}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", "utf-8")
    text = sums(hashes | {MANIFEST: sha256(folder / MANIFEST)})
    (folder / SUMS).write_text(text, "utf-8")
    return hashlib.sha256(text.encode()).hexdigest()


def entries(
    folder: Path,
    head: Mapping[str, Any],
    evidence: Evidence,
    hashes: Mapping[str, str],
    acquired: Mapping[str, str],
) -> list[dict[str, Any]]:
    """What a manifest with this `head` says of each file in `hashes`; `seal` tells of the arguments."""
    failed = {f"notebooks/{run['name']}" for run in head["notebooks"] if run["status"] != "completed"}
    return [
        {
            "path": name,
            "bytes": (folder / name).stat().st_size,
            "sha256": hashes[name],
            "acquired_sha256": acquired.get(name),
            **_origin(name, evidence, head["created_at"], name.rpartition(".")[0] in failed),
            "tool_version": head["tool_version"],
        }
        for name in sorted(hashes)
    ]


def sums(hashes: Mapping[str, str]) -> str:
    """The text of `SHA256SUMS` for path → hash."""
    return "".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes))


def incident_and_lead(folder: Path) -> tuple[str | None, str | None]:
    """Name and lead of the bundle in `folder`; None for what is not known, as in an evidence folder."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        return manifest.get("incident"), manifest.get("lead")
    except (OSError, ValueError, AttributeError):
        return None, None


def archive(folder: Path, target: Path, root: str) -> None:
    """Write `folder` as the ZIP file `target`, below the name `root`; the same files give the same bytes.

    Nothing is compressed: what a compressor makes of the same bytes differs between its versions, and then
    nobody could tell an altered archive from one made elsewhere.
    """
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as packed:
        for name in files(folder):
            entry = zipfile.ZipInfo(f"{root}/{name}", _EPOCH)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            entry.file_size = (folder / name).stat().st_size
            with (folder / name).open("rb") as stream, packed.open(entry, "w") as out:
                shutil.copyfileobj(stream, out)


def _origin(name: str, evidence: Evidence, created_at: str, failed: bool) -> dict[str, Any]:
    """Where a file comes from: when, from whom, how that ended, asked for what, got what."""
    made = {
        "acquired_at": created_at, "source": "made from evidence/", "exit_status": int(failed),
        "truncated": False, "asked": None, "got": None,
    }  # fmt: skip
    if not name.startswith("evidence/"):
        return made
    stem = name.removeprefix("evidence/").partition(".")[0]
    return made | {
        "acquired_at": iso(evidence.collected_at),
        "asked": evidence.window.as_json(),
        **_asked(stem, evidence),
    }


def _asked(stem: str, evidence: Evidence) -> dict[str, Any]:
    context = evidence.context
    if stem in ("calls", "earlier", "webhooks"):
        return {
            "source": [each.source for each in evidence.coverage],
            "exit_status": int(any(each.gap for each in evidence.coverage)),
            "truncated": any(each.truncated for each in evidence.coverage),
            "got": _span(evidence.coverage),
        }
    if stem == "metrics":
        failed = any(gap.signal.startswith("metrics") and gap.configured for gap in evidence.gaps)
        return {"source": context.get("metrics_url"), "exit_status": int(failed), "got": _sampled(evidence)}
    sources = {"status_page": context.get("status_url"), "probes": "probes"}
    return {"source": sources.get(stem, "klaviyo-nb")}


def _span(coverage: tuple[Coverage, ...]) -> dict[str, str] | None:
    spans = [each.got for each in coverage if each.got]
    if not spans:
        return None
    return {"start": iso(min(span.start for span in spans)), "end": iso(max(span.end for span in spans))}


def _sampled(evidence: Evidence) -> dict[str, str] | None:
    if evidence.metrics is None or evidence.metrics.empty:
        return None
    times = evidence.metrics["timestamp"]
    return {"start": iso(times.min().to_pydatetime()), "end": iso(times.max().to_pydatetime())}
