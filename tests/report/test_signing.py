"""Signatures: made and checked by the real ssh-keygen; missing, foreign or altered ones are told."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from klaviyo_nb.errors import UsageError
from klaviyo_nb.report.manifest import SIGNATURE, SUMS
from klaviyo_nb.report.signing import must_sign, sign
from klaviyo_nb.report.verify import Signed, problems
from mutations import MadeOnce, byte_changed, reseal

Signers = Callable[[str], tuple[Path, Path]]


@pytest.fixture
def verified(copied: Path, made_once: MadeOnce) -> Callable[[Path | None], tuple[dict[str, str], str | None]]:
    """`verified(allowed)`: what is wrong with `copied`, and who signed it."""

    def check(allowed: Path | None) -> tuple[dict[str, str], str | None]:
        signed = Signed(allowed)
        return {each.path: each.what for each in problems(copied, made_once, signed)}, signed.by

    return check


def test_who_signed_is_told(copied: Path, signers: Signers, verified) -> None:  # type: ignore[no-untyped-def]
    key, allowed = signers("jo@example.com")
    assert sign(copied, key) is None
    assert verified(allowed) == ({}, "jo@example.com")
    assert verified(None) == ({}, None)


def test_ssh_keygen_checks_it_without_us(copied: Path, signers: Signers, need) -> None:  # type: ignore[no-untyped-def]
    key, allowed = signers("jo")
    sign(copied, key)
    command = [
        need("ssh-keygen"),
        "-Y",
        "verify",
        "-f",
        allowed,
        "-I",
        "jo",
        "-n",
        "klaviyo-nb",
        "-s",
        SIGNATURE,
    ]
    with (copied / SUMS).open() as given:
        subprocess.run(command, cwd=copied, stdin=given, check=True, capture_output=True)


def test_a_report_that_nobody_signed_is_told_where_somebody_must_have(signers: Signers, verified) -> None:  # type: ignore[no-untyped-def]
    found, by = verified(signers("jo")[1])
    assert "nobody signed" in found[SIGNATURE]
    assert by is None


def test_a_key_that_may_not_sign_is_told(copied: Path, signers: Signers, verified) -> None:  # type: ignore[no-untyped-def]
    sign(copied, signers("mallory")[0])
    found, by = verified(signers("jo")[1])
    assert "nobody in" in found[SIGNATURE]
    assert by is None


def test_sums_made_anew_do_not_fit_the_signature_whoever_asks(
    copied: Path, signers: Signers, verified
) -> None:  # type: ignore[no-untyped-def]
    key, allowed = signers("jo")
    sign(copied, key)
    (copied / "notebooks" / "triage.html").write_text("all is well")
    reseal(copied)
    for who in (allowed, None):
        assert "does not fit" in verified(who)[0][SIGNATURE]


def test_a_signature_that_was_altered_is_found_though_nobody_need_have_signed(
    copied: Path, signers: Signers, made_once: MadeOnce
) -> None:
    sign(copied, signers("jo")[0])
    rng, size = random.Random(7), (copied / SIGNATURE).stat().st_size
    for at in range(60, size - 60, 40):
        with byte_changed(copied / SIGNATURE, rng, at):
            assert next(problems(copied, made_once), None), at


@pytest.mark.parametrize("text", [None, "no key"])
def test_what_is_no_key_is_refused_before_any_work(tmp_path: Path, need, text: str | None) -> None:  # type: ignore[no-untyped-def]
    need("ssh-keygen")
    if text:
        (tmp_path / "key").write_text(text)
    with pytest.raises(UsageError, match="key") as caught:
        must_sign(tmp_path / "key")
    assert caught.value.hint


@pytest.mark.parametrize("arguments", [["bundle", "--sign"], ["verify", ".", "--signers"]])
def test_without_ssh_keygen_the_error_says_what_to_install(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "key").write_text("x")
    (tmp_path / SUMS).write_text(f"{'0' * 64}  x\n")
    (tmp_path / SIGNATURE).write_text("x")
    command = [sys.executable, "-m", "klaviyo_nb", *arguments, "key"]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: ssh-keygen: signatures need it, and it is not installed",
        "try: apt install openssh-client",
    ]
