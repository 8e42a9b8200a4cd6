"""What a person sees: pages open offline without a request or a complaint; JupyterLab runs a notebook."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import samples
from installed import missing
from klaviyo_nb.folder import save
from klaviyo_nb.redact import Redactor
from klaviyo_nb.report.bundle import make
from klaviyo_nb.report.notebooks import shipped

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.real

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
TOKEN = "test-token"


@pytest.fixture(scope="module")
def browser(report: Path) -> Iterator[Browser]:  # the report first: playwright's loop would be in its way
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        missing("chromium is not installed")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("browser")
    return make(
        samples.rate_limited(), out=out, incident="INC-7", lead=None, redactor=Redactor(b"k" * 16)
    ).path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where screenshots are kept: the folder named by KLAVIYO_NB_SCREENSHOTS, else the test's own."""
    folder = Path(KEPT) if KEPT else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    return folder


KEPT = os.environ.get("KLAVIYO_NB_SCREENSHOTS")  # read before the environment is cleaned for each test


def watched(browser: Browser, **options: Any) -> tuple[Page, list[str], list[str]]:
    """A page, the requests it makes, and what it complains of."""
    page = browser.new_page(**options)
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on(
        "console",
        lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None,
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return page, requests, complaints


PAGES = ["index.html", *(f"notebooks/{name}.html" for name in ("triage", "logs", "metrics", "postmortem"))]


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_without_a_request_or_a_complaint(
    browser: Browser, report: Path, pictures: Path, name: str, width: int
) -> None:
    page, requests, complaints = watched(browser, viewport={"width": width, "height": 900})
    page.goto((report / name).as_uri())
    page.screenshot(path=pictures / f"{Path(name).stem}-{width}.png", full_page=True)
    assert [url for url in requests if not url.startswith("data:")] == [(report / name).as_uri()]
    assert complaints == []
    assert page.evaluate("document.scripts.length") == 0
    assert (
        page.evaluate("[...document.images].filter(image => !image.alt || !image.naturalWidth).length") == 0
    )
    assert page.evaluate("document.images.length + document.querySelectorAll('svg').length") >= 2
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "it scrolls sideways"
    if name == "index.html":
        hidden = (
            "[...document.querySelectorAll('.scroll')].filter(each => each.scrollWidth > each.clientWidth)"
        )
        assert page.evaluate(f"{hidden}.length") == 0, "part of a table is out of sight"
    page.close()


def test_the_printed_report_cuts_no_picture_and_shows_what_is_folded(browser: Browser, report: Path) -> None:
    width, height = 688, 1017  # A4 without its margins [CSS px]
    page, _, complaints = watched(browser, viewport={"width": width, "height": height})
    page.emulate_media(media="print")
    page.goto((report / "index.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    tall = "Math.max(...[...document.querySelectorAll('figure')].map(each => each.getBoundingClientRect().height))"
    assert page.evaluate(tall) < height, "it is cut at the end of a page"
    assert page.evaluate(
        "[...document.querySelectorAll('details > :not(summary)')].every(each => each.checkVisibility())"
    )
    assert page.evaluate("[...document.querySelectorAll('.links')].every(each => !each.checkVisibility())")
    assert 4 <= page.pdf(format="A4").count(b"/Type /Page\n") <= 12
    assert complaints == []
    page.close()


STYLES = "[...document.querySelectorAll('{}')].map(each => getComputedStyle(each{})['{}'])"


@pytest.mark.parametrize("width", [688, 710], ids=["A4", "Letter"])  # without margins [CSS px]
def test_the_printed_report_is_light_with_whole_tables_and_links_that_can_be_read(
    browser: Browser, report: Path, width: int
) -> None:
    page, _, _ = watched(browser, viewport={"width": width, "height": 960}, color_scheme="dark")
    page.goto((report / "index.html").as_uri())

    def styles(which: str, style: str, of: str = "") -> set[str]:
        return set(page.evaluate(STYLES.format(which, of, style)))

    assert styles("body", "backgroundColor") == {"rgb(21, 24, 28)"}  # on the screen
    page.emulate_media(media="print", color_scheme="dark")
    assert styles("body", "backgroundColor") == {"rgb(255, 255, 255)"}
    wide = "[...document.querySelectorAll('.scroll > *')].filter(each => each.scrollWidth > each.parentNode.clientWidth)"
    assert page.evaluate(f"{wide}.length") == 0, "a table is cut at the edge of the paper"
    assert styles(".scroll", "overflowX") == {"visible"}
    assert styles("thead", "display") == {"table-header-group"}  # on each page
    assert styles("pre, tr, figure", "breakInside") == {"avoid"}
    assert styles("h2, h3, summary, .answers dt", "breakAfter") == {"avoid"}
    assert styles("summary", "listStyleType") == {"none"}  # nothing can be unfolded on paper
    targets = {f'" ({name})"' for name in PAGES if name != "index.html"}
    assert styles("section[aria-labelledby=proof] li > a", "content", ", '::after'") == targets
    page.close()


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("name", [PAGES[0], "notebooks/metrics.html"])
def test_charts_are_as_dark_as_their_page(browser: Browser, report: Path, name: str, scheme: Any) -> None:
    page, _, _ = watched(browser, viewport={"width": 820, "height": 960}, color_scheme=scheme)
    page.goto((report / name).as_uri())
    with Image.open(io.BytesIO(page.locator("figure img").first.screenshot())) as picture:
        usual = np.median(np.asarray(picture.convert("L")))  # that of its ground
    assert usual < 60 if scheme == "dark" else usual > 220
    page.close()


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [(PAGES[0], 390, "dark"), (PAGES[0], 1280, "light"), *((name, 820, "dark") for name in PAGES[1:])],
)
def test_axe_finds_nothing_to_complain_of(
    browser: Browser, report: Path, name: str, width: int, scheme: Any
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page, _, _ = watched(
        browser, viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True
    )  # the page's policy stops axe's script too
    page.goto((report / name).as_uri())
    found = Axe().run(page).response
    told = [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found["violations"]]
    assert told == []
    assert len(found["passes"]) > 15, "axe looked at next to nothing"
    page.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_link_of_a_page_leads_somewhere(browser: Browser, report: Path, name: str) -> None:
    page, _, _ = watched(browser)
    page.goto((report / name).as_uri())
    links = page.evaluate("[...document.links].map(link => link.getAttribute('href'))")
    local = [link for link in links if not re.match(r"https?://|#|mailto:", link)]
    assert all(((report / name).parent / link.partition("#")[0]).is_file() for link in local)
    page.close()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[str]:
    """The address of a JupyterLab of our own, on a copy of triage.ipynb beside an evidence folder."""
    root = tmp_path / "root"
    (root / "notebooks").mkdir(parents=True)
    save(samples.rate_limited(), root / "evidence")
    notebook = (shipped() / "triage.ipynb").read_text("utf-8")
    (root / "notebooks" / "triage.ipynb").write_text(
        notebook.replace('evidence: str = \\"\\"', 'evidence: str = \\"../evidence\\"')
    )
    config = tmp_path / "config"
    (config / "labconfig").mkdir(parents=True)
    quiet = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    (config / "labconfig" / "page_config.json").write_text(json.dumps(quiet))
    whole = {"@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"}}  # all cells are in the page
    (config / "labconfig" / "default_setting_overrides.json").write_text(json.dumps(whole))
    own = (
        "JUPYTER_DATA_DIR",
        "JUPYTER_RUNTIME_DIR",
        "JUPYTERLAB_SETTINGS_DIR",
        "JUPYTERLAB_WORKSPACES_DIR",
        "IPYTHONDIR",
    )
    environ = (
        os.environ
        | {name: str(tmp_path / name.lower()) for name in own}
        | {"JUPYTER_CONFIG_DIR": str(config)}
    )
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", "--ServerApp.port=0",
        f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={root}", "--LabApp.extension_manager=readonly",
    ]  # fmt: skip
    log = (tmp_path / "lab.log").open("w+")
    server = subprocess.Popen(command, env=environ, stdout=log, stderr=log, start_new_session=True)
    try:
        yield _address(tmp_path / "lab.log", server)
    finally:
        os.killpg(server.pid, signal.SIGTERM)  # the group: kernels too
        server.wait(10)
        log.close()


def _address(log: Path, server: subprocess.Popen[bytes]) -> str:
    """Wait until the server tells its address and answers there."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        found = re.search(r"http://127\.0\.0\.1:(\d+)/lab", log.read_text())
        if found:
            return f"http://127.0.0.1:{found[1]}"
        server_is_starting(server)
    pytest.fail(f"JupyterLab did not start: {log.read_text()[-2000:]}")


def server_is_starting(server: subprocess.Popen[bytes]) -> None:
    """Give it a tenth of a second, or less if it ends."""
    try:
        server.wait(0.1)
    except subprocess.TimeoutExpired:
        return


def test_jupyterlab_runs_triage_and_shows_its_charts(browser: Browser, lab: str, pictures: Path) -> None:
    page, requests, complaints = watched(browser, viewport={"width": 1280, "height": 1000})
    page.goto(f"{lab}/lab/tree/notebooks/triage.ipynb?token={TOKEN}")
    # The indicator in the toolbar says "idle" before there is a session; the status bar does not.
    page.get_by_text(re.compile(r"Python 3 \(ipykernel\) \| Idle")).wait_for(timeout=60_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    outputs = page.locator(".jp-OutputArea-output")
    outputs.get_by_text("Next update").wait_for(timeout=60_000)  # the last cell shows the drafted message
    errors = (
        "[data-mime-type='application/vnd.jupyter.stderr'], [data-mime-type='application/vnd.jupyter.error']"
    )
    assert page.locator(errors).count() == 0
    charts = outputs.locator("img")
    assert charts.count() == 3
    for number in range(3):
        charts.nth(number).scroll_into_view_if_needed()
        assert charts.nth(number).is_visible()
        assert charts.nth(number).evaluate("image => image.complete && image.naturalWidth") > 500
        page.screenshot(path=pictures / f"lab-triage-{number + 1}.png")
    assert [
        url for url in requests if not url.startswith((lab, lab.replace("http", "ws"), "data:", "blob:"))
    ] == []
    assert complaints == []
    page.close()
