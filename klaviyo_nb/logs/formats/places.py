"""Which endpoint a record speaks of, and how surely that is Klaviyo's API."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal
from urllib.parse import urlsplit

from klaviyo_nb.expressions import expression
from klaviyo_nb.klaviyo.endpoints import Endpoint, catalogue
from klaviyo_nb.logs.formats import text, values
from klaviyo_nb.logs.formats.patterns import PATTERNS, VERB
from klaviyo_nb.logs.formats.reading import Read
from klaviyo_nb.logs.formats.silence import no_response

#: `api`: a URL of Klaviyo's API. `path`: a path or name of its catalogue, without its host. `foreign`:
#: another URL or path. `none`: the record names none.
Place = Literal["api", "path", "foreign", "none"]

_OPERATION = expression(
    r"(?<![\w/])(?:klaviyo[._])?((?i:get|create|update|delete|query|bulk|subscribe|unsubscribe|add|remove|tag|send|merge|"
    r"render|clone|cancel|refresh|assign|suppress|unsuppress|spawn|upload)(?:_[a-z_]{3,60}|[A-Z][A-Za-z]{2,60}))\b"
)
_HYPHENATED = expression(
    r"(?<![\w/.@:-])[a-z]{3,20}(?:-[a-z]{3,20}){1,5}(?![\w/.@-])|(?<=[\"'`])[a-z]{4,20}(?=[\"'`] endpoint\b)"
)
#: Such a name right behind Klaviyo's.
_BY_KLAVIYO = expression(r"(?i:(?<=klaviyo )|(?<=klaviyo: ))[a-z]{3,20}(?:-[a-z]{3,20}){1,5}(?![\w/.@-])")
#: `PATCH profiles/01HV…`, `429 on /profiles`: a path below that of the API.
_RELATIVE = expression(
    rf"(?<![\w/])(?:(?P<method>{VERB}) |(?:[2-5]\d\d (?:on|for|from|at)|(?i:request|call) (?:to|for)) /)"
    rf"(?P<v>[a-z][a-z-]{{2,40}}(?:/[\w/-]{{1,100}})?)(?![\w/.])"
)
_API_PATH = expression(r"^(?:[^/?#]*//)?[^/?#]+/(?:api|client|oauth)/+\w")  # the base alone is configuration
_NOT_API_HOSTS = (
    "developers.",
    "www.",
    "static.",
    "static-forms.",
    "help.",
    "fast.",
    "connect.",
    "community.",
)


@dataclass(frozen=True, slots=True)
class Where:
    """What was called.

    Attributes:
        place: How surely it is Klaviyo's API.
        method: HTTP method, upper case.
        path: URL or path as told, or the template of the operation that was named.
        endpoint: The operation, if it is known.
        told: Was it found in a text, while the keys speak of another request, such as the one that came in?
    """

    place: Place
    method: str | None = None
    path: str | None = None
    endpoint: Endpoint | None = None
    told: bool = False

    @property
    def template(self) -> str | None:
        """The path template of what was called."""
        if self.endpoint is not None:
            return self.endpoint.path
        return _template(self.method, self.path) if self.path else None


def called(it: Read, body: str, speaks: bool) -> Where:
    """What was called, as far as the record says."""
    said = it.found.values
    method = values.method(said.get("method"))
    where = place_of(str(said["url"]), method, speaks) if "url" in said else Where("none")
    if where.place == "foreign":
        method = None  # of the request that came in
        where = _behind(it, body, where, speaks)
    if where.place in ("none", "foreign") and not it.access and (found := _asked(body)):
        told = place_of(found["v"], found.groupdict().get("method") or method, speaks)
        if where.place == "none":
            where = replace(told, told=where.told)
        elif told.place == "api" or (told.place == "path" and speaks):
            where = replace(told, told=it.text[:1] == "{")
    if where.place == "foreign" and 'host: "a.klaviyo.com' in body:  # nginx
        where = _without_prefix(it, where, speaks)
    if where.place in ("api", "path") and where.method is None and (found := text.search("method", body)):
        where = replace(place_of(where.path or "", found["v"], speaks), place=where.place)
    if where.path is None and speaks and where.place == "none":
        return _named(it, body, method) or where
    if where.place == "foreign" and not it.access and (path := _bare(body, _BY_KLAVIYO)):
        return place_of(path, where.method, speaks)  # a route of our own, and what was asked during it
    return where


def _behind(it: Read, body: str, where: Where, speaks: bool) -> Where:
    """What of Klaviyo's was called where the keys speak of another's URL; that, if nothing says so."""
    if it.access:
        where = _without_prefix(it, where, speaks)
    if where.place == "foreign" and it.text[:1] == "{":
        where = _sent_on(it, body, where, speaks)
    return where


def _without_prefix(it: Read, where: Where, speaks: bool) -> Where:
    """Of a proxy that sent a request on to Klaviyo the path without the proxy's own part of it."""
    path = where.path or ""
    inside = path.find("/api/")
    if inside <= 0 or "a.klaviyo.com" not in it.text:
        return where
    told = place_of(path[inside:], where.method, speaks)
    return told if told.place == "path" else where


def _named(it: Read, body: str, method: str | None) -> Where | None:
    """What was called, told without a whole path."""
    if found := _RELATIVE.search(body):
        told = place_of(found["v"], found["method"], True)
        if told.place == "path":
            return told
    operation = _operation(it, body)
    if operation is not None:
        return Where("none", operation.method, operation.path, operation)
    if (path := _bare(body)) and (known := catalogue().operations(path)):
        return Where("none", method or (known[0].method if len(known) == 1 else None), path)
    return None


def _sent_on(it: Read, body: str, where: Where, speaks: bool) -> Where:
    """A request that went on to Klaviyo; or none, if a text tells how Klaviyo answered during it."""
    if '"a.klaviyo.com' in it.text and catalogue().operations(where.path or ""):
        return replace(place_of(urlsplit(where.path or "").path, where.method, speaks), place="path")
    if not it.access and "klaviyo" in body.lower() and (text.status(body) or no_response(body)):
        return Where("none", told=True)
    return where


def _bare(body: str, pattern: re.Pattern[str] = _HYPHENATED) -> str | None:
    """The path of an endpoint that is named by its last word only, such as `profile-import`."""
    words = (found[0] for _, found in zip(range(6), pattern.finditer(body), strict=False))
    return next((f"/api/{word}" for word in words if catalogue().operations(f"/api/{word}")), None)


def _asked(body: str) -> re.Match[str] | None:
    """The request told of; one that names Klaviyo's API before any other."""
    if "a.klaviyo.com/" in body:
        for pattern in PATTERNS["request"]:
            for found in pattern.finditer(body):
                if found["v"].partition("a.klaviyo.com")[2] not in ("", "/"):
                    return found
    return text.search("request", body)


@lru_cache(4096)
def place_of(url: str, method: str | None, speaks: bool) -> Where:
    """What a URL, a path or the name of an operation names; `speaks`: Klaviyo is named beside it."""
    if url[-1:] == "}" and "{" not in url:  # what it stands in ends behind it
        url = url.rstrip("}")
    if url[-4:-3] == ":" and url[-3:].isdigit() and url[:1] == "/":  # the status behind it
        url = url[:-4]
    verb, _, rest = url.strip().partition(" HTTP/")[0].partition(" ")
    if rest and verb.isalpha() and verb.isupper():
        method, url = verb, rest
    method = method.upper() if method else None
    host = _host(url)
    known = catalogue().operations(url)
    if not known and "/" not in url.strip("/") and speaks:
        named = catalogue().by_operation(url)
        known = (
            (named,) if named else catalogue().operations(f"/api/{url.strip('/')}") if host is None else ()
        )
        url = known[0].path if known else url
        method = method or (named.method if named else None)
    elif not known and speaks and host is None and url[:1] != "/":
        known = catalogue().operations(f"/api/{url}")
        url = f"/api/{url}" if known else url
    endpoint = next((each for each in known if each.method == method), known[0] if len(known) == 1 else None)
    place = _kind_of_place(host, url, bool(known))
    return Where(place, method, url, endpoint) if place != "none" else Where(place)


def _kind_of_place(host: str | None, url: str, known: bool) -> Place:
    if host is None and "klaviyo" in url.partition("?")[0].lower():
        return "foreign" if "/" in url else "none"  # a route of our own that is named after it
    if host is None:
        return "path" if known else "none" if "/" not in url else "foreign"
    if host.endswith("klaviyo.com"):
        inside = _API_PATH.search(url)  # not cut by `host`: it may be written in capitals or with tabs in it
        if host.startswith("status."):
            return "foreign"
        return "api" if inside and not host.startswith(_NOT_API_HOSTS) else "none"
    return (
        "path" if known and (host in ("localhost", "127.0.0.1", "[::1]") or "klaviyo" in host) else "foreign"
    )


def _host(url: str) -> str | None:
    if "//" not in url:
        return url.split("/", 1)[0].split(":")[0].lower() if url.lower().startswith("a.klaviyo.com") else None
    try:
        return (urlsplit(url).hostname or "").lower() or None
    except ValueError:
        return None


def _operation(it: Read, body: str) -> Endpoint | None:
    said = it.found.values.get("operation")
    names = [str(said).removeprefix("klaviyo.")] if said else []
    names += [found[1] for _, found in zip(range(6), _OPERATION.finditer(body), strict=False)]
    return next((found for name in names if (found := catalogue().by_operation(name))), None)


@lru_cache(4096)
def _template(method: str | None, path: str) -> str:
    return catalogue().template(method, path)
