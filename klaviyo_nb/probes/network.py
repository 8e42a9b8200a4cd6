"""The way to the API host: its addresses, a TCP connection, TLS and how long the certificate lasts.

Asked only where calls go directly: behind a proxy the application neither looks the name up nor connects.
"""

from __future__ import annotations

import asyncio
import socket
import time
from ipaddress import ip_address
from urllib.parse import urlsplit

from klaviyo_nb.probes.asked import Round
from klaviyo_nb.probes.asking import Row, certificate_end, proxy_for
from klaviyo_nb.probes.trouble import TROUBLE, error_type, why

DNS_S, TLS_S = 4.0, 5.0


async def probe_network(this: Round) -> None:
    """Rows `dns` (unless the host is an address) and `tls` (only for https), side by side."""
    url = urlsplit(this.settings.api_url)
    host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    proxy = proxy_for(this.settings.api_url)
    if proxy:
        this.miss("dns", f"calls go through the proxy {proxy}, which looks names up", configured=False)
        this.miss("tls", f"calls go through the proxy {proxy}, which connects", configured=False)
        return
    tls = (_tls(this, host, port),) if url.scheme == "https" else ()
    dns = () if _is_address(host) else (_dns(this, host, port),)
    await asyncio.gather(*dns, *tls)


async def _dns(this: Round, host: str, port: int) -> None:
    row: Row = {"probe": "dns", "target": host, "checked_at": this.clock()}
    loop, started = asyncio.get_running_loop(), time.perf_counter()
    try:
        async with asyncio.timeout_at(min(this.until, loop.time() + DNS_S)):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        row["state"] = " ".join(addresses)
        if all(ip_address(each.partition("%")[0]).is_unspecified for each in addresses):
            row |= {
                "error_type": "dns",
                "detail": f"the name leads nowhere ({row['state']}): a blocker answers",
            }
    except TROUBLE as exc:
        row |= {
            "error_type": "dns",
            "detail": "no answer in time" if isinstance(exc, TimeoutError) else why(exc),
        }
    this.emit(row | {"duration_s": time.perf_counter() - started})


async def _tls(this: Round, host: str, port: int) -> None:
    row: Row = {"probe": "tls", "target": f"{host}:{port}", "checked_at": this.clock()}
    loop, started = asyncio.get_running_loop(), time.perf_counter()
    try:
        async with asyncio.timeout_at(min(this.until, loop.time() + TLS_S)):
            _, writer = await asyncio.open_connection(host, port, ssl=this.clients.tls)
        row["cert_expires"] = certificate_end(writer.get_extra_info("peercert"))
        writer.transport.abort()
    except TROUBLE as exc:
        row |= {"error_type": _in_handshake(error_type(exc)), "detail": why(exc)}
    this.emit(row | {"duration_s": time.perf_counter() - started})


def _in_handshake(name: str) -> str:
    """A connection taken and then dropped breaks the handshake off: that is TLS that does not work."""
    return "tls" if name == "reset" else name


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
