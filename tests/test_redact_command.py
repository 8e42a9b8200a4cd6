"""`klaviyo-nb redact`: a bundle is redacted further into a new one; the first stays as it is."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

import samples
from klaviyo_nb.folder import load, save
from klaviyo_nb.report import manifest
from klaviyo_nb.report.verify import verify
from test_cli import run

#: An address that needs a further redaction, for it is no secret to whoever made the first bundle.
ADDRESS = "203.0.113.77"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tmp_path = tmp_path_factory.mktemp("redact")
    evidence = samples.rate_limited(calls_per_minute=2)
    calls = evidence.calls.assign(message=f"refused by {ADDRESS}")  # type: ignore[union-attr]
    save(replace(evidence, calls=calls), tmp_path / "evidence")
    done = run("bundle", "--evidence", "evidence", "--incident", "INC-7", "--lead", "Ada", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path / "reports" / "INC-7"


def hashes(folder: Path) -> dict[str, str]:
    return {name: manifest.sha256(folder / name) for name in manifest.files(folder)}


def test_a_bundle_is_redacted_into_a_new_sealed_one_and_stays_as_it_was(bundle: Path) -> None:
    before, tmp_path = hashes(bundle), bundle.parents[1]
    done = run("redact", "reports/INC-7", "--out", "reports/INC-7-public", "--ip-addresses", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    public = bundle.with_name("INC-7-public")
    assert hashes(bundle) == before
    assert ADDRESS in (bundle / "evidence" / "calls.csv").read_text()
    assert [name for name in before if ADDRESS.encode() in (public / name).read_bytes()] == []
    messages = load(public).calls["message"]  # type: ignore[index]
    assert messages.nunique() == 1
    assert re.fullmatch(r"refused by ip-[0-9a-f]{8}", messages.iloc[0])
    assert verify(public).problems == ()
    assert manifest.incident_and_lead(public)[1] == "Ada"


def test_nothing_is_overwritten_and_a_name_that_is_none_is_refused(bundle: Path) -> None:
    before, tmp_path = hashes(bundle), bundle.parents[1]
    again = run("redact", "reports/INC-7", "--out", "reports/INC-7", cwd=tmp_path)
    assert again.returncode == 2
    assert again.stderr.splitlines()[-1] == "try: choose another --out"
    odd = run("redact", "reports/INC-7", "--out", "reports/a b", cwd=tmp_path)
    assert odd.returncode == 2
    assert "--out: 'a b' cannot name a folder" in odd.stderr
    missing = run("redact", "reports/INC-8", "--out", "reports/new", cwd=tmp_path)
    assert missing.returncode == 2
    assert hashes(bundle) == before
