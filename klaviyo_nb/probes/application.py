"""Our own application: its health endpoint, and the public route that Klaviyo's webhooks arrive at."""

from __future__ import annotations

from klaviyo_nb.probes.asked import Round
from klaviyo_nb.probes.asking import HOPS, Question

#: Statuses to a GET that show a living route without more ado: it took, or refused, what has no signature.
_ALIVE = frozenset((*range(200, 300), 400, 401, 403, 405))
#: A delivery in Klaviyo's form that holds no event.
_EMPTY_DELIVERY = b'{"data": [], "meta": {}}'


async def probe_health(this: Round) -> None:
    """Row `app_health`: status, JSON `status` as `state`, media type."""
    url = this.settings.health_url
    if not url:
        this.miss("app_health", "KLAVIYO_NB_HEALTH_URL is empty", configured=False)
        return
    question = Question("app_health", url, "app", connect_s=2.0, read_s=4.0, limit_s=5.0, hops=HOPS)
    this.emit((await this.ask(question)).row)


async def probe_webhook(this: Round) -> None:
    """Row `webhook`: status to an unsigned request, end of the certificate.

    A GET asks first, because it cannot create work. Many frameworks answer 404 to a GET on a route that lives
    and only takes POST; so what looks dead is asked again with an unsigned POST of a delivery without events,
    which a sound handler refuses and a careless one has nothing to do with. That answer decides.
    """
    url = this.settings.webhook_url
    if not url:
        this.miss("webhook", "KLAVIYO_NB_WEBHOOK_URL is not set", configured=False)
        return
    get = Question("webhook", url, "app", connect_s=3.0, read_s=3.0, limit_s=4.0, certificate=True)
    row = (await this.ask(get)).row
    if "status_code" in row and row["status_code"] not in _ALIVE:
        post = Question(
            "webhook", url, "app", method="POST", content=_EMPTY_DELIVERY, certificate=True,
            headers={"Content-Type": "application/json"}, connect_s=3.0, read_s=3.0, limit_s=4.0,
        )  # fmt: skip
        row = (await this.ask(post)).row
    this.emit(row)
