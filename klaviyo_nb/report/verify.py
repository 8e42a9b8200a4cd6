"""Tell whether a bundle is what was sealed: hashes, completeness, no secrets, and every text recomputed."""

from __future__ import annotations

import filecmp
import json
import re
import secrets
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from klaviyo_nb import __version__
from klaviyo_nb.diagnosis.verdict import SCHEMA as VERDICT_SCHEMA
from klaviyo_nb.errors import EvidenceError, UsageError
from klaviyo_nb.evidence import Evidence
from klaviyo_nb.folder import load
from klaviyo_nb.redact import Redactor
from klaviyo_nb.report import canaries, manifest, signing
from klaviyo_nb.report.again import Again, made_again, origins_again
from klaviyo_nb.report.manifest import (
    MANIFEST,
    PICTURES,
    REDACTION,
    REDACTION_SCHEMA,
    SIGNATURE,
    SUMS,
    pictures,
    swept,
    without_words,
)

_SCHEMAS = {MANIFEST: manifest.SCHEMA, "verdict.json": VERDICT_SCHEMA, REDACTION: REDACTION_SCHEMA}
_SUM = re.compile(r"([0-9a-f]{64})  (.+)")
#: What `zipfile` raises on archives that are none, or none any more.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    RuntimeError,
    EOFError,
    ValueError,
    OSError,
)
#: As `made_again`.
MakeAgain = Callable[[Path, Evidence, Any], Again]
#: Problems of a folder.
Check = Callable[[Path], Iterator["Problem"]]
#: What the sums cannot tell of.
BESIDE = (SUMS, SIGNATURE)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it was sealed.

    Attributes:
        path: In the bundle, `/` between folders.
        what: What is wrong, one short line.
    """

    path: str
    what: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found.

    Attributes:
        intact: True if nothing was.
        problems: One per file and fault.
        signer: Who signed it, of those who may; None if that was not asked, or nobody of them did.
    """

    intact: bool
    problems: tuple[Problem, ...]
    signer: str | None = None


@dataclass(slots=True)
class Signed:
    """Who may have signed, a file in the form of `ssh-keygen`'s ALLOWED SIGNERS; and who did."""

    allowed: Path | None = None
    by: str | None = None


def verify(path: Path, signers: Path | None = None) -> Verification:
    """Check the bundle in folder or ZIP file `path`.

    Args:
        path: Folder or ZIP file.
        signers: One of those in this file must have signed it; None: nobody need have.

    Raises:
        UsageError: It is neither a folder nor a ZIP file; or there is no `ssh-keygen` to check who signed.
    """
    signed = Signed(signers)
    found = tuple(problems(path, signed=signed))
    return Verification(not found, found, signed.by)


def problems(path: Path, again: MakeAgain = made_again, signed: Signed | None = None) -> Iterator[Problem]:
    """What is not as it was sealed, the cheapest to find first.

    Args:
        path: Folder or ZIP file.
        again: What makes again what follows from the evidence.
        signed: Who may have signed; told who did.

    Raises:
        UsageError: It is neither a folder nor a ZIP file.
    """
    check = partial(_in_folder, again=again, signed=signed or Signed())
    return check(path) if path.is_dir() else _in_archive(path, check)


def _in_folder(folder: Path, again: MakeAgain, signed: Signed) -> Iterator[Problem]:
    odd = [Problem(name, "it is a symbolic link or no plain file") for name in _odd(folder)]
    if odd:
        yield from odd  # reading on could lead out of the bundle
        return
    sealed = _sums(folder)
    if not sealed:
        yield Problem(SUMS, "it is missing or cannot be read: this is no sealed bundle")
        return
    yield from _altered(folder, sealed)
    yield from _signature(folder, signed)
    yield from _schemas(folder)
    yield from _manifest(folder, sealed)
    yield from _secrets(folder)
    yield from _recomputed(folder, again)


def _odd(folder: Path) -> list[str]:
    everything = ((path, path.lstat().st_mode) for path in folder.rglob("*"))
    odd = [path for path, mode in everything if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)]
    return sorted(path.relative_to(folder).as_posix() for path in odd)


def _sums(folder: Path) -> dict[str, str]:
    try:
        lines = (folder / SUMS).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    matches = [match for line in lines if (match := _SUM.fullmatch(line))]
    return {match[2]: match[1] for match in matches}


def _altered(folder: Path, sealed: dict[str, str]) -> Iterator[Problem]:
    there = {name: manifest.sha256(folder / name) for name in manifest.files(folder) if name not in BESIDE}
    for name in sorted(sealed.keys() - there.keys()):
        yield Problem(name, "it is missing")
    for name in sorted(there.keys() - sealed.keys()):
        yield Problem(name, "it was not sealed with the rest")
    for name in sorted(there.keys() & sealed.keys()):
        if there[name] != sealed[name]:
            yield Problem(name, "it was altered: its SHA-256 is another")
    if (folder / SUMS).read_bytes() != manifest.sums(sealed).encode():
        yield Problem(SUMS, "it was altered")


def _signature(folder: Path, signed: Signed) -> Iterator[Problem]:
    """One that is there fits; where somebody must have signed, it is theirs."""
    there = (folder / SIGNATURE).is_file()
    if signed.allowed is None:
        trouble = signing.fits(folder) if there and signing.program() else None
    elif there:
        signed.by, trouble = signing.signer(folder, signed.allowed)
    else:
        trouble = "it is missing: nobody signed this"
    if trouble:
        yield Problem(SIGNATURE, trouble)


def _schemas(folder: Path) -> Iterator[Problem]:
    for name, schema in _SCHEMAS.items():
        found = _json(folder / name)
        said = found.get("schema") if isinstance(found, dict) else None
        if said != schema:
            yield Problem(name, f"its schema is {said!r}, this version reads {schema!r}")


def _manifest(folder: Path, sealed: dict[str, str]) -> Iterator[Problem]:
    """The manifest tells of the same files as the sums."""
    found = _json(folder / MANIFEST)
    entries = found.get("files") if isinstance(found, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        yield Problem(MANIFEST, "it lists no files")
        return
    listed = {entry.get("path"): entry.get("sha256") for entry in entries}
    if listed != {name: value for name, value in sealed.items() if name != MANIFEST}:
        yield Problem(MANIFEST, f"it does not agree with {SUMS}")
    for entry in entries:
        path, acquired = folder / str(entry.get("path")), entry.get("acquired_sha256")
        if entry.get("path") in sealed and path.is_file() and path.stat().st_size != entry.get("bytes"):
            yield Problem(str(entry["path"]), "its size is not the one in the manifest")
        changed = f"{entry.get('path')}: {manifest.CHANGED}"
        if acquired not in (None, entry.get("sha256")) and changed not in (found.get("problems") or ()):
            yield Problem(str(entry.get("path")), manifest.CHANGED)


def _secrets(folder: Path) -> Iterator[Problem]:
    for name in manifest.files(folder):
        if name.endswith(PICTURES):
            if not _plain((folder / name).read_bytes()):
                yield Problem(name, "it is no plain PNG, or carries text")
            continue
        redactor = Redactor(secrets.token_bytes(16))
        for text in manifest.pieces(folder / name):
            swept(text, redactor.text)
            if not all(map(_plain, pictures(text))):
                yield Problem(name, "a picture in it carries text")
        if redactor.counts:
            kinds = ", ".join(sorted(redactor.counts))
            yield Problem(name, f"it holds what looks like a secret or personal data: {kinds}")


def _plain(png: bytes) -> bool:
    try:
        return without_words(png) == png
    except ValueError:
        return False


def _recomputed(folder: Path, again: MakeAgain) -> Iterator[Problem]:
    """Decide, write and draw again from the evidence: it must come to what was sealed."""
    about = _json(folder / MANIFEST)
    try:
        evidence = load(folder / "evidence")
        origins = origins_again(folder, evidence, about)
        expected = again(folder, evidence, about)
    except EvidenceError as exc:
        yield Problem("evidence", exc.what)
        return
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        yield Problem(MANIFEST, f"it is not that of a report: {exc!r}")
        return
    other = ""
    if about["tool_version"] != __version__:
        other = f"; version {about['tool_version']} sealed it, verify it with that: this is {__version__}"
    what = f"it does not follow from evidence/ (decided and written again, it differs){other}"
    if origins != about["files"]:
        yield Problem(MANIFEST, what)
    if _json(folder / REDACTION) != manifest.redaction(folder, canaries.told()):
        yield Problem(REDACTION, f"it does not tell the marks that stand in the files{other}")
    for name, data in expected.items():
        path = folder / name
        if path.is_file() and path.read_bytes() != data:
            yield Problem(name, what)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _in_archive(path: Path, check: Check) -> Iterator[Problem]:
    try:
        with zipfile.ZipFile(path) as packed:
            odd = list(_odd_entries(packed))
            if odd:
                yield from odd  # unpacking could write outside
                return
            yield from _unpacked(path, packed, check)
    except _DAMAGED as exc:
        if path.suffix != ".zip" and not zipfile.is_zipfile(path):
            raise UsageError(
                str(path), "it is neither a folder nor a ZIP file", "klaviyo-nb verify reports/INC-7"
            ) from exc
        yield Problem(path.name, f"the archive is damaged: {exc}")


def _odd_entries(packed: zipfile.ZipFile) -> Iterator[Problem]:
    """Entries that would not unpack to plain files below one folder, or to more than the archive holds."""
    names = [entry.filename for entry in packed.infolist()]
    roots = {name.partition("/")[0] for name in names}
    if len(roots) != 1 or len(set(names)) != len(names):
        yield Problem(packed.filename or "", "it does not hold one folder, each file once")
    for entry in packed.infolist():
        parts = entry.filename.split("/")
        if len(parts) < 2 or not all(parts) or {".", ".."} & set(parts) or "\\" in entry.filename:
            yield Problem(entry.filename, "its name leads out of the bundle")
        elif stat.S_ISLNK(entry.external_attr >> 16):
            yield Problem(entry.filename, "it is a symbolic link")
        elif entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            yield Problem(entry.filename, "it is compressed, which a sealed archive is not")


def _unpacked(path: Path, packed: zipfile.ZipFile, check: Check) -> Iterator[Problem]:
    with tempfile.TemporaryDirectory(prefix="klaviyo-nb-verify-") as scratch:
        packed.extractall(scratch)
        root = packed.namelist()[0].partition("/")[0]
        packed_again = Path(scratch, "again.zip")
        manifest.archive(Path(scratch, root), packed_again, root)
        if not filecmp.cmp(path, packed_again, shallow=False):
            yield Problem(path.name, "the archive was altered: packed again, it differs")
        packed_again.unlink()
        yield from check(Path(scratch, root))
