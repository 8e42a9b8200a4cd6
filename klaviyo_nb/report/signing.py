"""Sign the sums of a bundle with an SSH key, and tell who signed: OpenSSH's `ssh-keygen -Y` does the work.

The signature is a file beside the sums, `SHA256SUMS.sig`; anybody checks it without us:
`ssh-keygen -Y verify -f SIGNERS -I WHO -n klaviyo-nb -s SHA256SUMS.sig < SHA256SUMS`.

Source:
    https://man.openbsd.org/ssh-keygen#Y
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from klaviyo_nb.errors import UsageError
from klaviyo_nb.report.manifest import SIGNATURE, SUMS

#: What the signature is for: one made for mail or for git is none for a report.
NAMESPACE = "klaviyo-nb"


def program() -> str | None:
    """Where `ssh-keygen` is."""
    return shutil.which("ssh-keygen")


def must_sign(key: Path) -> None:
    """There must be `ssh-keygen`, and a key in this file: known before hours of work, not after.

    Raises:
        UsageError: There is not.
    """
    if not key.is_file():
        raise UsageError(str(key), "there is no such key", "ssh-keygen -t ed25519 -f KEYFILE")
    done = _keygen("-l", "-f", str(key))
    if done.returncode:
        raise UsageError(
            str(key), f"it is no SSH key: {_said(done)}", "klaviyo-nb bundle --sign ~/.ssh/id_ed25519"
        )


def sign(folder: Path, key: Path) -> str | None:
    """Write the signature; why there is none, or None. May ask for the key's passphrase on the terminal.

    Raises:
        UsageError: There is no `ssh-keygen`.
    """
    done = _keygen("-Y", "sign", "-f", str(key), "-n", NAMESPACE, stdin=folder / SUMS)
    if done.returncode:
        return f"not signed: {_said(done)}"
    (folder / SIGNATURE).write_bytes(done.stdout)
    return None


def signer(folder: Path, allowed: Path) -> tuple[str | None, str | None]:
    """Who of the file of allowed signers signed; else why nobody did.

    Raises:
        UsageError: There is no `ssh-keygen`.
    """
    signature = ("-n", NAMESPACE, "-s", str(folder / SIGNATURE))
    found = _keygen("-Y", "find-principals", "-f", str(allowed), *signature[2:])
    for name in found.stdout.decode("utf-8", "replace").splitlines():
        done = _keygen("-Y", "verify", "-f", str(allowed), "-I", name, *signature, stdin=folder / SUMS)
        if not done.returncode:
            return name, None
        return None, f"the signature does not fit {SUMS}: {_said(done)}"
    return None, f"nobody in {allowed} signed this: {_said(found)}"


def fits(folder: Path) -> str | None:
    """Why the signature is not one of these sums, whoever made it; None if it is.

    Raises:
        UsageError: There is no `ssh-keygen`.
    """
    what = ("-Y", "check-novalidate", "-n", NAMESPACE, "-s", str(folder / SIGNATURE))
    done = _keygen(*what, stdin=folder / SUMS)
    return f"the signature does not fit {SUMS}: {_said(done)}" if done.returncode else None


def _keygen(*arguments: str, stdin: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    found = program()
    if found is None:
        raise UsageError(
            "ssh-keygen", "signatures need it, and it is not installed", "apt install openssh-client"
        )
    given = stdin.read_bytes() if stdin else b""
    return subprocess.run([found, *arguments], input=given, capture_output=True, check=False)  # noqa: S603 - no shell


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = (done.stderr or done.stdout).decode("utf-8", "replace").split("\n")
    return " ".join(line.strip() for line in lines if line.strip()) or f"exit status {done.returncode}"
