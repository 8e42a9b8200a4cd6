"""Whether a text can be a private API key, without showing it.

A private key is `pk_` and 34 letters or digits in every one that was seen; Klaviyo promises no length, so
a different one earns a hint and nothing more.
"""

from __future__ import annotations

import re
from typing import Any

from klaviyo_nb.expressions import expression

USUAL_LENGTH = 37
_SITE_ID = expression(r"[A-Za-z0-9]{6}", re.ASCII)
_PRINTABLE = expression(r"[^\x20-\x7e]+")
#: How other credentials begin, and whose they are. The first that fits wins.
VENDORS = (
    ("pk_live_", "Stripe"),
    ("pk_test_", "Stripe"),
    ("sk_live_", "Stripe"),
    ("sk_test_", "Stripe"),
    ("rk_live_", "Stripe"),
    ("rk_test_", "Stripe"),
    ("whsec_", "Stripe"),
    ("SG.", "SendGrid"),
    ("shpat_", "Shopify"),
    ("shpss_", "Shopify"),
    ("AKIA", "AWS"),
    ("ghp_", "GitHub"),
    ("github_pat_", "GitHub"),
    ("xoxb-", "Slack"),
    ("xoxp-", "Slack"),
    ("AIza", "Google"),
    ("Bearer ", "OAuth"),
    ("eyJ", "OAuth"),
)


def usable(raw: str | None) -> str | None:
    """The key as it can be sent: without what no header can carry; None if nothing is left."""
    return _PRINTABLE.sub("", raw or "").strip() or None


def key_facts(raw: str | None) -> dict[str, Any]:
    """What can be told of a key without telling the key.

    Returns:
        `set`: it holds something that could be sent. `length`: as found, in characters. `prefix`: its first
        three. `control_characters`: it has blanks or control characters around or inside. `vendor`: whose it
        is, if its beginning says so. `hint`: what looks wrong, one line, or None.
    """
    key = usable(raw)
    if raw is None or key is None:
        return {
            "set": False,
            "length": len(raw or ""),
            "prefix": None,
            "control_characters": bool(raw),
            "vendor": None,
            "hint": "it holds nothing but blanks" if raw else None,
        }
    vendor = next((name for beginning, name in VENDORS if key.startswith(beginning)), None)
    dirty = raw != key or " " in key
    return {
        "set": True,
        "length": len(raw),
        "prefix": key[:3],
        "control_characters": dirty,
        "vendor": vendor,
        "hint": _hint(raw, key, vendor),
    }


def _hint(raw: str, key: str, vendor: str | None) -> str | None:
    """The most telling oddity; a key with none has None."""
    oddities = (
        (vendor == "OAuth", "it looks like an OAuth token, which is sent as Bearer, not as a private key"),
        (vendor is not None, f"it begins like a credential of {vendor}"),
        (raw.rstrip("\r\n") == key and raw != key, "it ends in a line break"),
        (raw.strip() == key and raw != key, "it has blanks around it"),
        (raw != key, "it has a control character or a letter that no header can carry inside"),
        (key[0] in "\"'" and key[-1] == key[0], "it is wrapped in quotation marks"),
        (key.startswith("Klaviyo-API-Key"), "it begins with the scheme's name; only the key belongs there"),
        (" " in key, "it has a blank inside"),
        (_SITE_ID.fullmatch(key) is not None, "six characters are a public site id, not a private key"),
        (not key.startswith("pk_"), "it does not begin with pk_"),
        (len(key) != USUAL_LENGTH, f"{len(key)} characters; {USUAL_LENGTH} are usual"),
    )
    return next((text for found, text in oddities if found), None)
