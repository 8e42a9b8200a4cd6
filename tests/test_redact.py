"""Redaction and harmless text."""

from __future__ import annotations

import base64
import csv
import io
import itertools
import json
import pickle
import random
import re
from dataclasses import replace
from typing import get_args
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

import samples
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.diagnosis.verdict import Cause
from klaviyo_nb.redact import AT_ONCE, Redactor, harmless, marks
from klaviyo_nb.redaction.rule import Rule
from klaviyo_nb.redaction.rules import RULES
from klaviyo_nb.redaction.wrapped import before_open_end
from klaviyo_nb.response.document import verdict_document

KEY = "pk_4f1c0a9be27d83650f4e1b7a2c9d8e6f01"
PASSWORD = 'p@ss w"ord&1'

#: Pieces that rules look at, so that made-up text is likely to touch several.
PIECES = st.sampled_from(
    [sample for rule in RULES for sample in (*rule.matches, *rule.spares)]
    + [
        "@",
        "%40",
        "\\u0040",
        "\\u0022",
        "%22",
        "&#34;",
        "\\x61",
        "%61",
        "\\n",
        "\\",
        '"',
        "'",
        '""',
        '\\"',
        ",",
        ":",
        "=",
        " ",
        "\n",
        "{",
        "}",
        "[",
        "]",
    ]
    + ["Authorization", "Bearer ", "Basic ", "password", "token", "secret:", "api_key=", "Cookie: ", "phone"]
    + ["a.b", "x.io", "@x.io", "+1", "555-0100", "415-", "[redacted:secret]", "email-3f2a9c1b", "é", "漢"]
)
HOSTILE = st.lists(st.one_of(PIECES, st.text(max_size=6)), max_size=14).map("".join)


def redactor() -> Redactor:
    return Redactor(b"a key", (KEY, PASSWORD))


@pytest.mark.parametrize(
    ("rule", "sample"),
    [(rule, sample) for rule in RULES for sample in rule.matches],
    ids=lambda v: str(v)[:40],
)
def test_every_rule_takes_out_its_samples(rule: Rule, sample: str) -> None:
    redact = redactor()
    after = redact.text(f"first line\n{sample}\nlast line")
    assert sample not in after
    assert after.startswith("first line\n")
    assert after.endswith("\nlast line")
    assert rule.name in after
    assert redact.counts[rule.name] == 1


@pytest.mark.parametrize("sample", [sample for rule in RULES for sample in rule.spares])
def test_look_alikes_are_left_alone(sample: str) -> None:
    assert redactor().text(sample) == sample


@given(HOSTILE)
def test_redacting_twice_changes_nothing_and_keeps_the_number_of_lines(text: str) -> None:
    once = redactor().text(text)
    assert redactor().text(once) == once
    assert once.count("\n") == text.count("\n")


KEYS = st.one_of(
    st.sampled_from(
        ["phone", "phone_number", "password", "authorization", "email", "token", "Set-Cookie", "x"]
    ),
    HOSTILE,
)
VALUES = st.recursive(
    st.one_of(HOSTILE, st.integers(), st.booleans(), st.none(), st.just(4155550100)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


@given(VALUES, st.booleans(), st.sampled_from([None, 2]))
def test_json_stays_json(value: object, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    after = json.loads(redactor().text(text))
    assert type(after) is type(value) or isinstance(after, str)
    nested = json.dumps({"message": text})
    json.loads(json.loads(redactor().text(nested))["message"])


@given(st.lists(st.lists(HOSTILE, min_size=3, max_size=3), max_size=4))
def test_csv_keeps_its_rows_and_columns(rows: list[list[str]]) -> None:
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    read = list(csv.reader(io.StringIO(redactor().text(out.getvalue()), newline="")))
    assert [len(row) for row in read] == [len(row) for row in rows]


ENCODINGS = {
    "raw": str,
    "url": lambda text: quote(text, safe=""),
    "lower url": lambda text: re.sub("%..", lambda hit: hit[0].lower(), quote(text, safe="")),
    "json": lambda text: json.dumps(text),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 after 1": lambda text: base64.b64encode(b"u" + text.encode() + b"tail").decode(),
    "base64 after 2": lambda text: base64.b64encode(b"u:" + text.encode() + b"t").decode(),
    "base64 url": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64 of utf-16": lambda text: base64.b64encode(text.encode("utf-16-be")).decode(),
    "hexadecimal": lambda text: text.encode().hex().upper(),
}
#: No letter stands as it is.
ALL_ESCAPED = {
    "json": r"\u{:04x}",
    "json in json": r"\\u{:04X}",
    "url": "%{:02x}",
    "url in url": "%25{:02X}",
    "url of old scripts": "%u{:04x}",
    "html": "&#{};",
    "html by hexadecimal numbers": "&#x{:02X};",
    "html without semicolons": "&#{:03}",
    "html in html": "&amp;#{};",
    "python": r"\x{:02x}",
    "python, wide": r"\U{:08x}",
    "javascript": r"\u{{{:x}}}",
    "perl": r"\x{{{:x}}}",
    "shell": r"\{:03o}",
    "mail": "={:02X}",
}


@pytest.mark.parametrize(
    "secret", [KEY, PASSWORD, "7h0rt!zz", "with\nnewline in it", "schlüssel-ohne-muster"]
)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_configured_secret_is_found_however_it_is_written(secret: str, encoding: str) -> None:
    written = ENCODINGS[encoding](secret)
    after = Redactor(b"k", (secret,)).text(f"<{written}>")
    core = written.strip('"=')[3:-2]
    assert core not in after
    assert "[redacted:" in after
    assert after.count("\n") == written.count("\n")


def escaped(text: str, how: str) -> str:
    return "".join(ALL_ESCAPED[how].format(ord(letter)) for letter in text)


@pytest.mark.parametrize("how", ALL_ESCAPED)
def test_what_is_escaped_letter_by_letter_is_read(how: str) -> None:
    plain = {"ann.lee@shop.example": "email", "+447700900123": "phone", KEY: "klaviyo-key"}
    plain |= {"Zx81/Key77=q": "secret", "hunter2 it is!": "configured-secret"}
    for value, rule in plain.items():
        redact = Redactor(b"k", ("hunter2 it is!",))
        redact.learn({"Zx81/Key77=q": "secret"})
        assert (
            redact.text(f"it says <{escaped(value, how)}> there") == f"it says <{redact.text(value)}> there"
        )
        assert redact.counts == {rule: 2}


def test_an_address_that_is_escaped_joins_with_the_same_as_it_is() -> None:
    told = [escaped("ann@shop.example", how) for how in ALL_ESCAPED]
    told += ["ann@shop&period;example", "%61nn%40shop.example", "a&#110;n&commat;shop.example"]
    assert {redactor().text(text) for text in told} == {redactor().text("ann@shop.example")}


@pytest.mark.parametrize(
    ("written", "redacted"),
    [
        ("data=%7B%22token%22%3A%22hunter2Stork%22%7D", "data=%7B%22token%22%3A%22[redacted:secret]%22%7D"),
        (r"{\x22password\x22:\x22hunter2Stork\x22}", r"{\x22password\x22:\x22[redacted:secret]\x22}"),
        ("{&quot;api_key&quot;: &quot;hunter2&quot;}", "{&quot;api_key&quot;: &quot;[redacted:secret]&quot;}"),
        (r"{\u0022first_name\u0022:\u0022Zoe\u0022}", r"{\u0022first_name\u0022:\u0022[redacted:profile]\u0022}"),
    ],
)  # fmt: skip
def test_json_whose_quotes_are_escaped_tells_names_and_values(written: str, redacted: str) -> None:
    assert redactor().text(written) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "filter=equals(event,%22Placed%20Order%22)&page%5Bsize%5D=100",
        r"C:\users\x64\123\u0063ode",
        r"caf\u00e9 \u0441\u043b\u043e\u0432\u043e \ud83d\ude00 \u0041",
        "a=10%45 b=%50s &#8217;tis &#39;so&#39; =3D=20=3D &quot;yes&quot;",
        'status=400,size=%41,"x",limit=4096',
        "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        base64.b64encode("a script of Windows, nothing else".encode("utf-16-le")).decode(),
    ],
)
def test_escapes_that_hide_nothing_stay(text: str) -> None:
    assert redactor().text(text) == text


#: How the lines of base64 are kept apart.
BETWEEN = {
    "MIME": "\r\n",
    "openssl": "\n",
    "indented": "\n      ",
    "with tabs": "\n\t",
    "in JSON": "\\n",
    "in JSON, from Windows": "\\r\\n",
    "in JSON in JSON": "\\\\n",
    "in JSON, by number": "\\u000a",
    "in a URL": "%0A",
    "in a URL in a URL": "%250D%250A",
    "quoted mail": "\n> ",
    "strings of Python": '"\n    "',
    "strings that are added": '" +\n    "',
    "a list of strings": '",\n    "',
}


@pytest.mark.parametrize("between", BETWEEN.values(), ids=BETWEEN)
@pytest.mark.parametrize("width", [60, 64, 72, 76])
def test_base64_in_lines_hides_nothing(width: int, between: str) -> None:
    told = (
        "pk_Zk3JtQ9LwXv2RbN7YcP5HsD8MfG4KaT6Ue",
        "ann.lee@shop.example",
        "+447700900123",
        PASSWORD,
        "Zx81Key77q",
    )
    for before in range(20, 90, 8):
        for value in told:
            plain = f"{'to whom it may concern ' * 5:.{before}} {value}; {'yours truly, ' * 8}".encode()
            coded = base64.b64encode(plain).decode()
            lines = between.join(coded[at : at + width] for at in range(0, len(coded), width))
            redact = Redactor(b"k", (PASSWORD,))
            redact.learn({"Zx81Key77q": "secret"})
            text = f'2026-11-23 sent\nbody: "{lines}" in 7 ms\n2026-11-23 answered'
            after = redact.text(text)
            core = coded[-(-(before + 1) // 3) * 4 : (before + 1 + len(value)) // 3 * 4]
            assert core not in after.replace(between, "")
            assert "[redacted:" in after
            assert after.startswith('2026-11-23 sent\nbody: "')
            assert after.endswith('" in 7 ms\n2026-11-23 answered')
            assert after.count(between) == text.count(between)
            assert redact.text(after) == after


def test_base64_behind_an_escape_leaves_json_json() -> None:
    told = ["ann.lee@shop.example", "Zx81Key77q"]
    for break_, value, before in itertools.product(("\\n", "\\u000a"), told, range(12)):
        coded = base64.b64encode(f"{'o' * (42 + before)}{value} and more of it".encode()).decode()
        redact = Redactor(b"k")
        redact.learn({"Zx81Key77q": "secret"})
        for text in (f'"{break_}{coded}"', f'"{coded[:60]}{break_}{coded[60:]}"'):
            assert "[redacted:" in json.loads(redact.text(text))


def test_only_the_lines_of_base64_that_hide_something_are_taken_out() -> None:
    lines = base64.encodebytes(b"a letter of many lines " * 20 + b"ann@shop.example" + b" and more " * 60)
    before = lines.decode().splitlines()
    after = redactor().text(lines.decode()).splitlines()
    assert after[:3] == before[:3]
    assert after[-5:-1] == before[-5:-1]
    assert after.count("[redacted:base64]") == 1


@pytest.mark.parametrize(
    "text",
    [
        base64.encodebytes(random.Random(3).randbytes(900)).decode(),
        "".join(f"{number * 2654435761:032x}\n" for number in range(50)),
        "undefined\nisNotAFunctionOfTheClient\nundefined\n",
        json.dumps([{"trace": "7c9e66797425", "status": "ok"}] * 3, indent=2),
        json.dumps({"error": "in handleRequestToKlaviyo\nundefined\n", "at": 4155550100}),
        "https://a.klaviyo.com/api/profiles/01HMKGK1BB4D6VV4ZNGJRBKQMS\nhttps\n",
    ],
)
def test_words_below_each_other_are_left_alone(text: str) -> None:
    assert redactor().text(text) == text


def test_a_text_is_not_cut_within_base64() -> None:
    lines = "once upon a time\n" + base64.encodebytes(b"k" * 300).decode()
    assert before_open_end(lines, 0, len(lines)) == lines.index("\n") + 1
    assert before_open_end(lines + "the end\n", 0, len(lines) + 8) == len(lines) + 8
    endless = "x" * 76 + "\n"
    assert before_open_end(endless * 2_000, 0, 77 * 2_000) == 77 * 2_000


def test_base64_in_lines_is_read_as_one_where_a_large_text_is_cut() -> None:
    hidden = base64.encodebytes(b"a letter of many lines " * 2 + b"to ann.lee@shop.example " * 2).decode()
    before = "a line\n" * ((AT_ONCE - 100) // 7)
    after = redactor().text(before + hidden + "the end\n").removeprefix(before)
    assert after == "[redacted:base64]\n\nthe end\n"


def test_a_key_with_a_stray_newline_is_found_without_it() -> None:
    assert (
        Redactor(b"k", ("odd-shaped-key\n",)).text("key odd-shaped-key.")
        == "key [redacted:configured-secret]."
    )


def test_a_configured_word_does_not_eat_the_text() -> None:
    text = "the secret is on the page"
    assert Redactor(b"k", ("the", "secret", "")).text(text) == text


def test_one_address_has_one_pseudonym_however_it_is_written() -> None:
    written = ["Ann@Example.com", "ann%40example.com", "ann\\u0040example.com", "ann%2540example.com"]
    assert len({redactor().text(text) for text in written}) == 1
    umlauts = ["jürgen@example.com", "j\\u00fcrgen@example.com", "J%C3%BCrgen%40example.com"]
    assert len({redactor().text(text) for text in umlauts}) == 1
    tagged = ["ann+vip@example.com", "ann\\u002Bvip@example.com", "ann%2Bvip%40example.com"]
    assert len({redactor().text(text) for text in tagged}) == 1
    assert (
        len({redactor().text(text) for text in ["+14155550100", "%2B14155550100", "+1 (415) 555-0100"]}) == 1
    )


def test_pseudonyms_depend_on_the_key_and_on_the_address() -> None:
    ann = Redactor(b"1").text("ann@example.com")
    assert re.fullmatch("email-[0-9a-f]{8}", ann)
    assert ann != Redactor(b"2").text("ann@example.com")
    assert ann != Redactor(b"1").text("bob@example.com")


def test_it_travels_to_worker_processes_and_gives_the_same_names_there() -> None:
    there = pickle.loads(pickle.dumps(redactor()))
    assert there.text(f"ann@example.com {KEY}") == redactor().text(f"ann@example.com {KEY}")
    assert there.counts == {"email": 1, "klaviyo-key": 1}


def test_without_its_secrets_it_gives_the_same_pseudonyms() -> None:
    whole = Redactor(b"key", (PASSWORD,))
    bare = whole.without_secrets()
    assert bare.text("ann@example.com") == whole.text("ann@example.com")
    assert bare.text(PASSWORD) == PASSWORD
    assert PASSWORD.encode() not in pickle.dumps(bare)


def test_it_knows_of_its_secrets_in_bytes_however_they_are_written() -> None:
    redactor = Redactor(b"key", (PASSWORD,))
    for text in (PASSWORD, quote(PASSWORD), json.dumps(PASSWORD)):
        assert redactor.knows_of(f"before {text} after".encode())
    assert not redactor.knows_of(b"ann@example.com")


def test_a_secret_that_was_cut_leaves_no_beginning() -> None:
    redactor = Redactor(b"key", (PASSWORD,))
    assert redactor.without_cut_secret(f"token {PASSWORD[:8]}") == "token "
    assert redactor.without_cut_secret(f"token {quote(PASSWORD)[:9]}") == "token "
    assert redactor.without_cut_secret("token of somebody else") == "token of somebody else"


def test_what_is_recognised_last_is_taken_out_first() -> None:
    early, late = "worker began with Zx81Quality77Key", "GET /in?api_key=Zx81Quality77Key"
    found = Redactor(b"k").in_all({"a.csv": early, "b.csv": late, "c.json": "nothing"})
    assert found == {
        "a.csv": "worker began with [redacted:secret]",
        "b.csv": "GET /in?api_key=[redacted:secret]",
        "c.json": "nothing",
    }


@pytest.mark.parametrize(
    "line",
    [
        "Authorization: Basic c3ZjOmh1bnRlcjJTdG9yazk5Qmx1ZQ==",
        "proxy said Basic c3ZjOmh1bnRlcjJTdG9yazk5Qmx1ZQ",
        "redis://svc:hunter2Stork99Blue@cache.example:6379",
        "curl -u svc:hunter2Stork99Blue https://x.example",
    ],
)
def test_a_password_recognised_beside_its_user_is_found_alone(line: str) -> None:
    redactor = Redactor(b"k")
    redactor.text(line)
    assert "hunter2" not in redactor.text("login with hunter2Stork99Blue was refused")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_was_recognised_once_is_found_however_it_is_written(encoding: str) -> None:
    secret = "Zx81/Quality+77=Key"
    redactor = Redactor(b"k")
    redactor.text(f"password={secret}")
    core = ENCODINGS[encoding](secret).strip('"=')[3:-2]
    assert core not in redactor.text(f"<{ENCODINGS[encoding](secret)}>")


@pytest.mark.parametrize(
    "value", ["rate_limited", "2026-11-23T05:00:00Z", "12345678901234", "/srv/app1/key", "a1"]
)
def test_a_word_beside_a_secrets_name_is_not_taken_out_everywhere(value: str) -> None:
    redactor = Redactor(b"k")
    redactor.text(f'{{"password": "{value}"}}')
    assert redactor.text(f"once more {value} alone") == f"once more {value} alone"


def test_what_was_recognised_stays_within_longer_words() -> None:
    redactor = Redactor(b"k")
    redactor.text("password=part1of2it")
    assert redactor.text("xpart1of2it part1of2its part1of2it") == "xpart1of2it part1of2its [redacted:secret]"


def test_what_leaves_this_machine_learns_nothing() -> None:
    away = Redactor(b"k").without_secrets()
    away.text("password=Zx81Quality77Key")
    assert not away.learnt


def test_what_was_learnt_elsewhere_counts_here() -> None:
    redactor = Redactor(b"k")
    redactor.learn({"Zx81Quality77Key": "secret"})
    assert redactor.text("Zx81Quality77Key") == "[redacted:secret]"


def test_marks_are_counted_by_rule() -> None:
    text = b"[redacted:secret] email-3f2a9c1b [redacted:secret] phone-3f2a9c1b e-mail email-xyz"
    assert marks(text) == {"secret": 2, "email": 1, "phone": 1}


def test_a_large_text_is_redacted_in_pieces_as_in_one() -> None:
    line = "a line without anything to take out but for its end\n"
    text = line * 90_000 + "ann@example.com\n" + line * 10
    assert redactor().text(text) == text.replace("ann@example.com", redactor().text("ann@example.com"))


def test_ip_addresses_are_taken_out_by_choice() -> None:
    text = "203.0.113.7:443 and 2001:db8::7, not 127.0.0.1, ::1, 1.24.0, 05:00:01 or 00:1B:44:11:3A:B7"
    assert Redactor(b"k").text(text) == text
    after = Redactor(b"k", ip_addresses=True).text(text)
    assert re.fullmatch("ip-[0-9a-f]{8}:443 and ip-[0-9a-f]{8}, not (.*)", after)
    assert after.partition(", not ")[2] == text.partition(", not ")[2]


@pytest.mark.parametrize("cause", get_args(Cause))
def test_what_we_tell_people_to_do_is_never_redacted(cause: Cause) -> None:
    evidence = samples.rate_limited(calls_per_minute=2)
    actions = verdict_document(evidence, replace(decide(evidence), cause=cause))["actions"]
    text = json.dumps(actions, indent=2)
    assert Redactor(b"k", ip_addresses=True).text(text) == text


def test_its_description_shows_neither_key_nor_secrets() -> None:
    assert KEY not in repr(redactor())


def test_call_data_that_looks_personal_but_is_not_stays() -> None:
    rng = random.Random(7)
    for _ in range(300):
        row = {
            "timestamp": f"2026-11-23T07:00:{rng.randrange(60):02d}.{rng.randrange(1000):03d}+00:00",
            "epoch_ms": 1763881200000 + rng.randrange(10**7),
            "order": f"4{rng.randrange(10**9):09d}",
            "request_id": f"{rng.getrandbits(32):08x}-4000-8000-9000-{rng.randrange(10**12):012d}",
            "duration": f"{rng.random() * 1000:.4f}",
            "ip": f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(256)}:443",
            "ratelimit": "75, 75;w=1, 750;w=60",
            "profile": "01HMKGK1BB4D6VV4ZNGJRBKQMS",
        }
        text = json.dumps(row) + " ".join(str(value) for value in row.values())
        assert redactor().text(text) == text


def test_a_very_long_line_is_read_in_time_that_grows_with_it() -> None:
    for piece in (
        "a",
        "a.",
        "@",
        "+1 ",
        "pk_",
        "password",
        '"',
        "\\",
        "%",
        "://",
        "1-",
        "-----BEGIN PRIVATE KEY-----",
    ):
        redactor().text(piece * 20_000 + " x@y.zz")


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]8;;http://evil.example\x07link\x1b]8;;\x1b\\", "link"),
        ("\x1b[\x1b[2J31m", "31m"),
        ("title \x9d0;pwned\x9c.", "title ."),
        ("a\u202eb\u2066c\u200bd\ufeff\u2028e", "abcde"),
        ("bell\a, nul\0, del\x7f, back\b, return\r\n", "bell, nul, del, back, return\n"),
        ("lone \ud800 surrogate", "lone \ufffd surrogate"),
        ("\tfine: žluťoučký 漢字 🎉\n", "\tfine: žluťoučký 漢字 🎉\n"),
    ],
)
def test_hostile_text_becomes_harmless(text: str, clean: str) -> None:
    assert harmless(text) == clean


@given(
    st.text(
        alphabet=st.one_of(st.characters(), st.sampled_from("\x1b[]0;m\x07\\\x9b\u202e\r\n\t")), max_size=40
    )
)
def test_harmless_text_holds_no_control_and_is_left_alone_the_second_time(text: str) -> None:
    clean = harmless(text)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", clean)
    assert harmless(clean) == clean
    assert clean.count("\n") == text.count("\n")
    clean.encode()
