"""Who is named in a record, and what a text that names Klaviyo may tell of instead of a call."""

from __future__ import annotations

import re

from klaviyo_nb.expressions import expression
from klaviyo_nb.logs.formats.reading import Read

#: Others that applications talk to: a status beside their name is theirs.
_OTHERS = expression(
    r"\b(klaviyo|shopify|stripe|sendgrid|twilio|hubspot|salesforce|mailchimp|mailgun|postmark|braze|iterable|omnisend|"
    r"attentive|yotpo|gorgias|recharge|bigcommerce|paypal|adyen|avalara|redis|valkey|memcached|postgres\w*|psql|mysql|"
    r"mariadb|mongo\w*|kafka|rabbitmq|amqp|elastic\w*|opensearch|dynamodb|sqs|sns|s3|gcs|bigquery|snowflake|redshift|"
    r"(?<=service: )\w+|database|vault|slack|sentry|datadog|zendesk|github|pagerduty|smtp|facebook|"
    r"google|tiktok)(?=[\W_]|api|client|$)",
    re.IGNORECASE,
)
_KEPT_FOR = expression(
    r"\b(?:cache|key|queue|table|topic|index|jobs?|lock|entry|bucket)s? (?:for|of) $", re.IGNORECASE
)
#: Where what is worked on came from.
_TAKEN = expression(r"\b(?:message|job|task|event|record)s?\b[^\n]{0,80} from $", re.IGNORECASE)
_BY = expression(r"\W*(?:[\w-]+\W+){0,4}?(?:from|by)\s+(?:the )?(\w+)", re.IGNORECASE)
_BY_URL = expression(r"\W*(?:[\w-]+\W+){0,4}?(?:from|by) [\"'(<]?https?://(?![^/\s]*klaviyo)", re.IGNORECASE)
#: Of a server that only played Klaviyo, of a test that expected something of one, of a ticket with its state,
#: of news.
_PLAYED = expression(
    r"\b(?:stub(?:bed)?|mocked|mock[ _-]server|nock|intercept(?:ed)?|wiremock|fixtures?|cassettes?|"
    r"simulat\w+|chaos|inject\w* [45]\d\d)\b|\[msw\]|::test_|\bassertionerror\b|\bassert \d+ [=!]=|"
    r"\.(?:test|spec)\.[jt]sx?\b|"
    r"^[a-z]{2,8}-\d{1,6}\b[^\n]{1,300} [|·] (?:in (?:progress|review)|to ?do|backlog|done) |"
    r" \| (?:in (?:progress|review)|to ?do|backlog) \| |<pubdate>|"
    r"^\s{0,8}[✓✔✗✘√] (?:it |should |[a-z]{2,20}s )"  # what a test found
)
_PLAYED_WORDS = (
    "stub", "mock", "nock", "intercept", "msw", "::test_", "assert", "fixture", "cassette", "simulat",
    "chaos", "inject", ".test.", ".spec.", "progress", "review", "do ", "backlog",
    "done", "<pubdate", *"✓✔✗✘√",
)  # fmt: skip
_SQL = expression(
    r"\b(?:SELECT\b.{0,2000}\bFROM|INSERT INTO|"
    r"(?:ALTER|CREATE) (?:TABLE|INDEX)|UPDATE \S+ SET|DELETE FROM)\b|"
    r"the object has been modified|violates [\w -]{3,20} constraint|relation \S+ does not exist|"
    r"deadlock detected|\b(?i:database|compilation|runtime) (?i:error) in (?:model|test|snapshot|seed)\b",
    re.DOTALL,
)
#: Words of which one is in every text that it finds something in.
_SQL_WORDS = ("SELECT", "INSERT ", "ALTER ", "CREATE ", "UPDATE ", "DELETE ", "been modified", "constraint",
              "relation ", "deadlock", " error in ", " Error in ")  # fmt: skip
#: Links, routes of our own such as `/admin/klaviyo`, and what follows a `?`; not files.
_PAGES = expression(
    r"\b\w{2,12}://(?!a\.klaviyo\.com)[^\s\"'<>,)]+|\?[^\s\"'<>]*|(?<![\w.+-])[\w.+-]++@(?!(?<=-\d@)\d+\b)[\w.-]+|"
    r"(?<![\w.-])(?!a\.klaviyo\.com)[\w.-]{0,60}klaviyo[\w.-]{0,60}\.(?:com|net|org|io|example|local|internal)\b(?![.-]\w)|"
    r"(?<![\w.:/~-])(?:/[\w~%-]+)+/?(?=[\s?\"',;)]|$)|"
    r"[\w./-]{0,80}klaviyo[\w./-]{0,80}\.(?:mdx?|rst|html?|ya?ml|csv|sql|toml|lock)\b|"  # a document
    r"\b(?:query|expr|promql|logql|sql|statement)=\\?\"(?:[^\"\\]|\\.)*\""  # what somebody looked for
)
#: Words of which one is in every text that it finds something in.
_PAGE_WORDS = ("/", "@", ".com", "?", ".net", ".org", ".io", ".example", ".local", ".internal", '="', '=\\"',
               ".md", ".rst", ".htm", ".yaml", ".yml", ".csv", ".sql", ".toml", ".lock")  # fmt: skip
#: Klaviyo's name where it is surely no part of them.
_BY_ITSELF = expression(r"(?:^|\s)\[?klaviyo(?=[\s\]]|:(?!//)|$)")
#: What a line that names Klaviyo and a number may tell of instead of a call: checks, releases, tests, alerts.
_ASIDE = expression(
    r"\b(?:liveness|readiness|startup|http) probe\b|\bhealth(?:z|[ _-]?checks?)?\b|\b(?:un)?reachable: |"
    r"\bdeployed\b|\b(?:version|app) released\b|(?:^|\s)Parameters: |"
    r"\bsearch_type\[|\"query\"\s?:\s?\{|\btrack(?:ed)?:? \"|\b(?:button|clicked|scaled to)\b|"
    r"^[\W\d]{0,12}(?:rolled back|merged?|commit|build|feat|fix|chore|docs|pass(?:ed)?)\b|^---|"
    r"^\s{0,8}●|\bexpected:? .{1,40}\breceived:? |"
    r"^\s{0,8}[✓✔✗×✘](?!.{0,200}\b[2-5]\d\d (?-i:[A-Z][A-Za-z]))|^\|\s{0,3}[2-5]\d\d\s{0,3}\||"
    # source code
    r"\b(?:if \(|return |throw |const |let |case \d|await |new \w{1,60}\()[^\n]{0,300}[;{}]\s{0,3}$|"
    r"^[\W\dTZ]{0,40}(?:deploy\w*|releas\w+|rollout|changelog|alert\w*|audit)\b|\(#\d{1,6}\)\s*$|"
    r"\b(?:settings?|config\w*) (?:changed|updated|saved|loaded|reloaded)\b|"
    r"\b(?:daily|hourly|weekly|monthly) (?:report|summary|digest|usage|stats)\b|"
    r"\b\d+ (?:rows affected|tests? (?:completed|passed|failed|run))\b|^> Task |"
    r"^npm (?:warn|err|notice)|\bto (?:the )?instance\b|\bfor app \w|"
    r"\bstatus\.klaviyo\.com\b|\bmonitor (?:is )?(?:up|down)\b|"
    r"\b(?:assigned to|back-off restarting|in the last (?:\d+ )?(?:minutes?|hours?|days?))\b|"
    r"\b(?:unit|smoke|e2e|integration) tests? (?:pass|fail)\w*|\bschema\"?: ?\{|"
    r"^(?:changed|ok|skipping|failed|fatal): \[|\bklaviyo[\w.]{0,60}\{[^}]{0,200}\}\s{1,3}(?:value=)?\d|"
    r"\bprocess exited\b|\bcache (?:hit|miss)\b|\bpurged? |\bHEAD -> |\b\d+ (?:days|weeks|months) ago\b|"
    r"\[(?:firing|resolved|triggered)\b|\b(?:grafana|dashboards?|status ?page)\b|^(?:[$+] )?echo |"
    r"\bexpect\(|^\s{0,8}(?:feature|scenario): |\bCompleted [1-5]\d\d [A-Z][\w ]{1,30} in \d|"  # Rails
    r"\|\s*[\d.]{1,6}\s?%|\"[A-Z]{3,12}\" \"(?!https?:)[\w-]{1,40}:|"  # Redis
    r"\bfunction execution (?:took|started)|^\s*[*-] v?\d+\.\d+|"
    r"\b(?:alarm|threshold|SLO|(?<!see )(?:runbook|playbook)|feature flag)\b", re.IGNORECASE
)  # fmt: skip
#: A key or a value that is Klaviyo's name, not an id or a table that holds it; or what stands before one that
#: says with whom was spoken.
_NAME = expression(
    r"(?:\"|\b(?:to|for|via|with|from|by) |-to-)klaviyo([\"\s(:]|[-_.]?(?:api|client|service|"
    r"sdk)\b(?!-(?:key|token|secret))|"
    r"[-_.]?(?:status|response|error|http)\w{0,20}\"|[-_.](?:subscribe|upsert|track|identify|request|call)\b)?"
)
_WITH = expression(
    r"(?:integration|vendor|provider|destination|target|upstream|dependency|peer|connector|system|partner|"
    r"client|api|platform|sink|service)[\w.-]{0,20}\"\s?:\s?$"
)
#: What AWS runs to call somebody, by whom it is called.
_RUN = expression(r"\"arn:aws:(?:events|pipes|states):[^\"]{0,200}klaviyo")


def is_named(it: Read, body: str) -> bool:
    """Does the application itself speak of Klaviyo? Of an object not in any key or id that holds the name."""
    whole = it.text.lower()
    if "klaviyo" in f"{it.found.values.get('caller')} {it.found.values.get('host')}".lower():
        return True
    if "klaviyo" not in whole:
        return False
    if whole[:1] == "{" and "a.klaviyo.com" not in whole:
        return (
            _outside_pages(body.lower())
            or any(
                found[1] or _WITH.search(whole[max(0, found.start() - 60) : found.start()])
                for found in _NAME.finditer(whole)
            )
            or _RUN.search(whole) is not None
        )
    return _outside_pages(whole)


def _outside_pages(low: str) -> bool:
    return _BY_ITSELF.search(low) is not None or "klaviyo" in without_pages(low)


def without_pages(low: str) -> str:
    """Without links and routes that name Klaviyo: who writes one does not say that Klaviyo answered."""
    return _PAGES.sub("", low) if any(map(low.__contains__, _PAGE_WORDS)) else low


def is_played(body: str) -> bool:
    """Did a server only play Klaviyo, a test expect something of one, or somebody write a ticket?"""
    low = body.lower()
    return any(map(low.__contains__, _PLAYED_WORDS)) and _PLAYED.search(low) is not None


def is_sql(body: str) -> bool:
    """Does it tell of a table of a database?"""
    return any(map(body.__contains__, _SQL_WORDS)) and _SQL.search(body) is not None


def klaviyo_said(body: str, at: int | None) -> bool:
    """Is the outcome Klaviyo's, and not that of somebody else who is named nearer to it?"""
    named = [
        (found.start(), found[1].lower())
        for found in _OTHERS.finditer(body)
        if not _TAKEN.search(body[max(0, found.start() - 120) : found.start()])
    ]
    if not any(name != "klaviyo" for _, name in named):
        return True
    if named[0][1] != "klaviyo":  # redis, which keeps something for Klaviyo
        named = [each for each in named if not _KEPT_FOR.search(body[: each[0]])] or named
    if at is not None and _BY_URL.match(body[at + 3 : at + 120]):
        return False
    if at is not None and (by := _BY.match(body[at + 3 : at + 120])) and _OTHERS.match(by[1]):
        return by[1].lower() == "klaviyo"
    before = [name for start, name in named if at is None or start < at]
    return (before[-1] if before else named[0][1]) == "klaviyo"


def is_aside(body: str) -> bool:
    """Does it tell of a check, a release, a test, an alert or a table of a database?"""
    return is_sql(body) or is_played(body) or _ASIDE.search(body) is not None
