"""What is taken out of text, as data: one rule per kind of secret, samples beside it; then personal data.

To add a rule: its clues, its patterns, samples that match and look-alikes that do not (they are its tests).
Keys of other services are a table in `vendors`.
"""

from __future__ import annotations

from klaviyo_nb.redaction.personal import PERSONAL
from klaviyo_nb.redaction.rule import Rule
from klaviyo_nb.redaction.shapes import (
    BREAK,
    EDGE,
    KEYWORD_CLUE,
    KEYWORDS,
    NO_VALUE,
    NO_VALUE_BARE,
    NOT_PROSE,
    PEM_BEGIN,
    RANDOM_KEYWORDS,
    SCHEME,
    STRONG_PROSE,
    assigned,
    hides_in_hex,
    hides_something,
    holds_colon,
    listed,
    looks_chosen,
    looks_random,
    no_constraint,
)
from klaviyo_nb.redaction.vendors import VENDOR_KEYS

_HEX_LETTER = "2[de]|3[0-9]|[46][1-9a-f]|[57][0-9a]|5f"

RULES: tuple[Rule, ...] = (
    Rule(
        "pem",
        "secret",
        ("-----BEGIN",),
        (
            rf"(?P<value>{PEM_BEGIN}(?:{BREAK}+(?:Proc-Type|DEK-Info): [\w,-]+)*"
            rf"(?:[A-Za-z0-9+/=]|{BREAK})*+-----END [A-Z ]{{0,40}}PRIVATE KEY(?: BLOCK)?-----)",
            rf"{PEM_BEGIN}(?P<value>(?:{BREAK}*[A-Za-z0-9+/]{{16,}}=*)+)",
        ),
        spans_lines=True,
        matches=(
            "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA1c7\nq0w=\n-----END RSA PRIVATE KEY-----",
            '{"key": "-----BEGIN PRIVATE KEY-----\\nMIIEvQIBADANBg\\n-----END PRIVATE KEY-----\\n"}',
        ),
        spares=("-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIBAgIE\n-----END CERTIFICATE-----",),
    ),
    Rule(
        "klaviyo-key",
        "secret",
        ("pk_",),
        (r"(?P<value>pk_[A-Za-z0-9_]{20,})",),
        accept=no_constraint,
        matches=(
            "Authorization: Klaviyo-API-Key pk_4f1c0a9be27d83650f4e1b7a2c9d8e6f01",
            "key=pk_Zk3JtQ9LwXv2RbN7YcP5HsD8MfG4KaT6Ue",
            "pk_live_51HxyzABCDEFghijkl",
        ),
        spares=(
            '{"prefix": "pk_", "length": 37}',
            "pk_****abcd",
            "duplicate key violates pk_orders_by_created_at",
        ),
    ),
    Rule(
        "vendor-key",
        "secret",
        tuple(VENDOR_KEYS),
        (
            r"""(?-i:A[KS]IA[0-9A-Z]{16})["'\s,;:/=a-z_-]{1,40}(?P<value>[A-Za-z0-9+/]{40})(?![\w+/=])""",
            *(
                rf"{EDGE}(?P<value>(?-i:{key}))(?![A-Za-z0-9])"
                for keys in VENDOR_KEYS.values()
                for key in keys
            ),
        ),
        matches=(
            "AKIAIOSFODNN7EXAMPLE",
            "sk_live_51HxyzABCDEFghijkl",
            "jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N",
        ),
        spares=("region asia-northeast1", "task-list-of-2026-11-23-for-the-day"),
    ),
    Rule(
        "url-credentials",
        "secret",
        (r"://[^ /]*@",),
        (r"""://(?P<value>(?!\[redacted:)[^\s/?#@,:"'\\<>]*(?::[^\s/?@,"'\\<>]+|(?<=[\w-]{20})))(?=@)""",),
        teaches=True,
        pairs=True,
        matches=("redis://app:s3cret@cache.example:6379/0",),
        spares=("https://a.klaviyo.com:443/api/profiles", "https://status.klaviyo.com/api/v2"),
    ),
    Rule(
        "authorization",
        "secret",
        ("authorization",),
        listed("authorization") + assigned("authorization", before=SCHEME),
        teaches=True,
        pairs=True,
        matches=(
            "Authorization: Bearer abcdef",
            '{"authorization": "Basic dXNlcg=="}',
            "'Authorization': 'Token 9f8e7d'",
            '"{""authorization"": ""x-y-z""}"',
        ),
        spares=(
            'curl -H "Authorization: Klaviyo-API-Key $KLAVIYO_PRIVATE_KEY"',
            "Missing or invalid authorization scheme. Please use Klaviyo-API-Key.",
        ),
    ),
    Rule(
        "bearer",
        "secret",
        ("bearer", "klaviyo-api-key"),
        (
            r"(?:bearer|klaviyo-api-key)(?:[ \t]+|%20|\+)"
            r"(?P<value>(?=[\w.~+/-]*[0-9])[\w.~+/-]{8,}=*|[A-Za-z]{24,})",
        ),
        teaches=True,
        matches=("sent Bearer 9f8e7d6c5b4a", "Bearer%20ya29.a0AfH6SMBx"),
        spares=("Www-Authenticate: Bearer, Klaviyo-API-Key", "bearer authentication failed"),
    ),
    Rule(
        "basic",
        "secret",
        (r"basic[ \t%]",),
        (r"basic(?:[ \t]+|%20)(?P<value>[A-Za-z0-9+/]{8,}={0,2})",),
        accept=holds_colon,
        teaches=True,
        pairs=True,
        matches=("proxy said Basic dXNlcjpwYXNzd29yZA==",),
        spares=("Basic authentication is disabled",),
    ),
    Rule(
        "cookie",
        "secret",
        ("cookie",),
        listed("cookie")
        + assigned("cookie", bare=NO_VALUE_BARE + r"""[^\s"'\\,{}\[\]][^"'\\,\n\r{}\[\]]*""")
        + (r"""cookie[ \t]+(?P<value>[\w.-]{2,40}=[^\s;,"'\\<>&{}\[\]]{8,})""",),
        matches=("Set-Cookie: __cf_bm=abc.123; path=/; HttpOnly", "{'set-cookie': '__cf_bm=abc; path=/'}"),
        spares=("Vary: Cookie, Accept-Encoding",),
    ),
    Rule(
        "secret",
        "secret",
        (KEYWORD_CLUE,),
        (
            *assigned(KEYWORDS, colon=":" + NOT_PROSE),
            rf"<[\w.:-]*(?:{KEYWORDS})[\w.:-]*>(?P<value>{NO_VALUE}[^<>\s\"',\\]+)(?=</)",
        ),
        teaches=True,
        matches=(
            "GET /api/v1/people?api_key=abcdef&page=2",
            '{"secret_key": "long enough webhook secret"}',
            '{"password": 12345678}',
            "webhook_secret: s3cr3t",
            'export KLAVIYO_PRIVATE_KEY="broken key"',
        ),
        spares=(
            "export KLAVIYO_PRIVATE_KEY=…",
            "--from-file=private-key=/dev/stdin",
            'kubectl create secret generic klaviyo --from-literal=KLAVIYO_PRIVATE_KEY="$NEW_KEY"',
            "klaviyo-nb.toml: private_key: a key does not belong in a file",
            '{"token": null, "tokens": 512, "next_token": 5}',
        ),
    ),
    Rule(
        "base64",
        "secret",
        # What base64 makes of `pk_` at each shift, of an @ between small letters, and of six digits in a row.
        (
            r"(?-i:cGtf|[HXn3]BrX|wa1[89+/_-])",
            r"(?-i:Q[GH][BFJNRVZdhlptx159][g-z0-9+/]|[YZa-fMNOL-][EUk0]B[g-z0-9+/]|[GHWXmn23DTjz][BFJNRVZdhlptx159EUMQIcgkAY]A)",
            "(?-i:(?:[MNO][DTjz][AEIMQUYcgk][w-z0-5]){2})",
            # And of any letters of two bytes, every second of them zero.
            "(?-i:(?:A[C-H][AEIMQUYcgkosw048]A[A-Za-z0-9+/_-][AQgw][AB][A-Za-z0-9+/_-]){2})",
        ),
        (r"(?:(?<=\\[bfnrt])|(?<=\\u[0-9a-f]{4})|(?<![\w+/\\]))(?P<value>[\w+/-]{16,}={0,2})",),
        accept=hides_something,
        matches=("to YW5uLmxlZUBleGFtcGxlLmNvbQ==", "x=cGtfNGYxYzBhOWJlMjdkODM2NTBmNGUxYjdh"),
        spares=("cursor=bmV4dDo6aWQ6OjAxSE1LR0sxQkI", "01HMKGK1BB4D6VV4ZNGJRBKQMS"),
    ),
    Rule(
        "hex",
        "secret",
        ("706b5f", rf"(?:{_HEX_LETTER}){{2}}40(?:{_HEX_LETTER}){{3}}", "2b3[1-9](?:3[0-9]){8}"),
        (r"(?:(?<=0x)|(?<=\\x)|(?<![0-9a-z]))(?P<value>[0-9a-f]{20,})",),
        accept=hides_in_hex,
        matches=(
            r"body=\x616e6e2e6c656540736f6d652e6578616d706c65",
            "706B5F5A6B334A7451394C775876325262374E3759635035487344",
        ),
        spares=(
            r"trace_id=4bf92f3577b34da6a3ce929d0e0e4736",
            r"bytea \x706b5f6f72646572735f62795f6461792e2e2e",
        ),
    ),
    Rule(
        "random-secret",
        "secret",
        (KEYWORD_CLUE, rf"{STRONG_PROSE}[ \t]", r"[?&](?:code|state|nonce|ticket)="),
        listed(rf"[\w.-]*(?:{KEYWORDS})")
        + assigned(RANDOM_KEYWORDS)
        + (
            r"(?<![\w.-])key=b?['\"](?P<value>[^'\",\\\s]+)(?=['\"])",
            r"[?&](?:code|state|nonce|ticket)=(?P<value>[\w.~%+/-]{20,}=*)",
            rf"{STRONG_PROSE}[ \t]+(?:(?:is|was)[ \t]+|for [\w.@-]+: )?(?P<value>[\w+/-]{{12,}}=*)(?![\w.])",
        ),
        accept=looks_random,
        teaches=True,
        matches=(
            "AccountKey=hr8elwdtlhHIKWH8foetW7GkvKsY+DM2Dm8==;EndpointSuffix=x",
            "next?sig=9c03726928495a0a2f9769bcc7fd",
            "the password is yiWl0V1JNbrh",
            '["x-api-key", "5d9SdkX5gM1P52kf3p27"]',
        ),
        spares=(
            "idempotency_key=order-4711",
            "signature=valid",
            '["password", "email"]',
            "session_id=7c9e6679-7425-40de-944b-e07fc1f90ae7",
            "the token bucket2026 is empty",
        ),
    ),
    Rule(
        "command-line",
        "secret",
        (
            r"[ \t]-u[ \t'\"]",
            "--user[ \t=]",
            "mysql",
            "redis-cli",
            r"--[\w-]{0,30}(?:key|token|secret|passw(?:or)?d|passphrase)[ \t]",
        ),
        (
            r"(?:[ \t]-u|--user)[ \t=]+['\"]?(?P<value>(?!\[redacted:)[\w.@%+-]+:[^\s'\",\\]{4,})",
            r"mysql\w*[ \t](?:[^\n]{0,200}[ \t])?-p(?P<value>[^\s'\",\\-][^\s'\",\\]{5,})",
            r"redis-cli[ \t](?:[^\n]{0,200}[ \t])?-a[ \t]+(?P<value>(?!\[redacted:)[^\s'\",\\]{6,})",
            r"[ \t]--[\w-]*(?:key|token|secret|passw(?:or)?d|passphrase)[ \t]+"
            rf"(?P<value>{NO_VALUE}[^\s'\",\\-][^\s'\",\\]{{7,}})",
        ),
        accept=looks_chosen,
        teaches=True,
        pairs=True,
        matches=(
            "curl -u app:s3cret1 https://x.example",
            "mysql -h db -pHKa9ZxjZ8l shop",
            "deploy --api-key a1b2c3d4e5",
        ),
        spares=(
            "sort -u names:x",
            "docker run -u 1000:1000 app",
            "mysql -h db -p shop",
            "tool --key-file 12345",
        ),
    ),
    *PERSONAL,
)
