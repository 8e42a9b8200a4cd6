"""Personal data that are taken out of text, as data: addresses, numbers, names of people and places."""

from __future__ import annotations

from klaviyo_nb.redaction.rule import Rule
from klaviyo_nb.redaction.shapes import (
    AT,
    DOMAIN,
    JOB_TITLES,
    LOCAL,
    ODD_QUOTE,
    OF_PERSON,
    OF_PLACE,
    PERSON_CLUE,
    PHONE_NAMES,
    START,
    assigned,
    enough_digits,
    is_address,
    is_named,
    mail_domain,
    quoted,
)

PERSONAL: tuple[Rule, ...] = (
    Rule(
        "ip",
        "pseudonym",
        (r"\d\.\d{1,3}\.\d", r"[\da-f]:[\da-f]{0,4}:"),
        (
            r"(?<![\w.:-])(?P<value>(?:(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\.){3}"
            r"(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9]))(?![\w-]|\.[0-9])",
            r"(?<![\w.:-])(?P<value>[0-9a-f]{1,4}(?::[0-9a-f]{0,4}){2,7})(?![\w:-])",
        ),
        accept=is_address,
    ),
    Rule(
        "profile",
        "secret",
        (PERSON_CLUE, r"title[\\\"']{1,9}[ \t]*:"),
        quoted(OF_PERSON) + JOB_TITLES,
        matches=(
            '{"last_name": null, "locale": "en-US", "title": "Regional Manager"}',
            '{\\"title\\":\\"Head of Data\\",\\"organization\\":null}',
            '{"first_name": "Marguerite"}',
            '{\\"last_name\\":\\"Szczepanik\\"}',
            "lastName: 'Drinkwater'",
        ),
        spares=(
            '{"first_name": null, "last_name": ""}',
            "first_name is required",
            "name=worker-3",
            '{"errors": [{"title": "Invalid."}], "organization": null}',
            '{"title": "Bad Gateway", "status": 502}',
        ),
    ),
    Rule(
        "profile",
        "secret",
        (
            PERSON_CLUE,
            r"(?:address_?[12]|street|address|city|region|zip|zip_?code|postal_?code|itude|isation|ization|i[sz]ation_name)[\\\"']",
        ),
        quoted(OF_PLACE) + assigned(OF_PERSON)[3:],
        accept=is_named,
        matches=(
            '{"address1": "1 Harbour Road", "country": "GB"}',
            '{"latitude":46.05108}',
            "first_name=Aurelio",
        ),
        spares=('"region": "eu-central-1"', "city=unknown", "zip: not a valid zip file", '{"city": null}'),
    ),
    Rule(
        "email",
        "pseudonym",
        (r"@[\w\x80-\xff-]+\.", r"%(?:25)*40", r"\\u0040"),
        (rf"{START}(?P<value>{LOCAL}+(?:{AT}{DOMAIN})+)",),
        accept=mail_domain,
        matches=(
            "ann.lee@example.com",
            "filter=equals(email,%22ann%40example.com%22)",
            '{"text": "to:\\nann@example.com"}',
            "jürgen+shop@example.co.uk",
            "\\u003cann\\u0040example.com\\u003e",
        ),
        spares=("user@1000.service", "logo@2x.png", "lodash@4.17.21", "@app.route", '{"@timestamp": 1}'),
    ),
    Rule(
        "phone",
        "pseudonym",
        (r"(?:\+|%(?:25)*2b|\\u002b)[1-9][\d .()-]{7}",),
        (
            r"(?:(?<=%[0-9a-f]{2})|(?<![0-9.+]))(?<!:[0-9]{2} )(?<!\.[0-9]{3} )(?<!\.[0-9]{6} )"
            r"(?P<value>(?:\+|%(?:25)*2b|\\+u002b)(?:[1-9][0-9]{7,14}"
            r"|[1-9][0-9]{0,2}[ .-]?(?:\([0-9]{1,4}\)[ .-]?)?[0-9]{1,4}(?:[ .-][0-9]{2,8}){1,5}))(?!\w)",
        ),
        accept=enough_digits,
        matches=(
            "+14155550100",
            "+44 20 7946 0958",
            "+49 170 1234567",
            "phone=%2B14155550100",
            "+1 (415) 555-0100",
        ),
        spares=(
            "2026-11-23 07:00:00 +1030 1000 2000",
            "2026-11-23T07:00:00+01:00",
            "1e+10",
            "[23/Nov +1000]",
        ),
    ),
    Rule(
        "phone",
        "pseudonym",
        (r"[2-9]\d\d(?:[-. ]|\) ?)[2-9]\d\d[-.]\d{4}",),
        (
            rf"{START}(?P<value>(?:1[ .-])?(?:\([2-9][0-9]{{2}}\) ?[2-9][0-9]{{2}}-"
            r"|[2-9][0-9]{2}(?:-[2-9][0-9]{2}-|\.[2-9][0-9]{2}\.| [2-9][0-9]{2}-))[0-9]{4})(?![\w-]|\.[0-9])",
        ),
        matches=("call 415-555-0100", "(415) 555-0100", "415.555.0100"),
        spares=(
            "order 112-3456789-0123456",
            "10.100.200.30",
            "11111111-1111-4111-8111-222333444455",
            '"GET / HTTP/1.1" 200 512 1034',
        ),
    ),
    Rule(
        "phone",
        "pseudonym",
        ("phone", "mobile"),
        (
            rf'{PHONE_NAMES}(?P<key_quote>{ODD_QUOTE}|"|)[ \t]*(?:=>|[:=]|%3d)[ \t]*'
            rf'(?P<quote>{ODD_QUOTE}|"|)'
            r"(?P<value>\+?(?:[0-9]{7,15}|[0-9(][0-9 ().-]{5,20}[0-9]))(?![\w.])",
        ),
        accept=enough_digits,
        matches=('{"phone_number": "4155550100"}', '{"phone": 4155550100}', "mobile=447700900123"),
        spares=("1763881200123", "order 4000012345", "took 1234567 ms", '{"phone_number_id": 123456789}'),
    ),
)
