"""One sealed bundle for the tests of sealing and verifying: making one takes seconds."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import samples
from klaviyo_nb.redact import Redactor
from klaviyo_nb.report.bundle import Bundle, make
from mutations import MadeOnce

LEAD = "Jo <jo@example.com>"


@dataclass(frozen=True)
class Made:
    """A sealed bundle and what was told while it was made."""

    bundle: Bundle
    progress: list[str]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    told: list[str] = []
    out = tmp_path_factory.mktemp("bundle") / "reports"
    bundle = make(
        samples.rate_limited(),
        out=out,
        incident="INC-7",
        lead=LEAD,
        redactor=Redactor(b"k" * 16),
        progress=told.append,
    )
    return Made(bundle, told)


@pytest.fixture
def copied(made: Made, tmp_path: Path) -> Path:
    """A copy of the sealed folder, to be altered."""
    return Path(shutil.copytree(made.bundle.path, tmp_path / "INC-7"))


@pytest.fixture(scope="session")
def made_once() -> MadeOnce:
    """What follows from the evidence of `made`: drawing charts takes seconds."""
    return MadeOnce()


@pytest.fixture
def problems(made_once: MadeOnce) -> Callable[[Path], dict[str, str]]:
    """Path → what is wrong with a copy of `made` whose evidence is the same, as `verify` finds it."""
    from klaviyo_nb.report.verify import problems as verifying

    def found(path: Path) -> dict[str, str]:
        told: dict[str, list[str]] = {}
        for problem in verifying(path, made_once):
            told.setdefault(problem.path, []).append(problem.what)
        return {name: "; ".join(whats) for name, whats in told.items()}

    return found


@pytest.fixture
def signers(tmp_path: Path, need: Callable[[str], str]) -> Callable[[str], tuple[Path, Path]]:
    """`signers(name)` makes an SSH key; gives its file, and a file that allows `name` to sign with it."""

    def new(name: str) -> tuple[Path, Path]:
        key, allowed = tmp_path / name, tmp_path / f"{name}.allowed"
        command = [need("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)]
        subprocess.run(command, check=True)
        allowed.write_text(f"{name} {key.with_name(f'{name}.pub').read_text()}")
        return key, allowed

    return new
