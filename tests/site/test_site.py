"""The built documentation site in a browser: headless Chromium opens every page. `make docs-check` runs this."""

from __future__ import annotations

import functools
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is in .venv-docs, which `make docs` makes")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

SITE = Path(__file__).resolve().parents[2] / "build" / "docs" / "html"
PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html") if "_static" not in path.parts)
PHONE, DESK = 390, 1280

pytestmark = [
    pytest.mark.skipif(not PAGES, reason="the site is not built: `make docs`"),
    pytest.mark.skipif(
        not (shutil.which("chromium") and shutil.which("chromedriver")),
        reason="Chromium or its driver is missing (Debian: apt-get install chromium chromium-driver)",
    ),
]


class Quiet(SimpleHTTPRequestHandler):
    """A server that writes no line for each request."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(SITE))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


def set_width(browser: webdriver.Chrome, width: int) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def complaints(browser: webdriver.Chrome) -> list[str]:
    """What the browser has logged as an error since the last call."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_loads_without_an_error_and_is_no_wider_than_the_screen(browser, address, page):
    for width in (DESK, PHONE):
        set_width(browser, width)
        browser.get(f"{address}/{page}")
        assert complaints(browser) == []
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= width, f"{page} is {wide} pixels wide on a screen of {width}"
    assert page == "search.html" or browser.find_elements(By.TAG_NAME, "h1")


def test_pictures_are_there(browser, address):
    set_width(browser, DESK)
    for page in ("index.html", "CLUSTERS.html", "tutorials/first_analysis.html"):
        browser.get(f"{address}/{page}")
        widths = browser.execute_script("return Array.from(document.images).map(image => image.naturalWidth)")
        assert widths
        assert min(widths) > 0


def test_the_search_finds_batch(browser, address):
    set_width(browser, DESK)
    browser.get(f"{address}/search.html?q=batch")
    found = WebDriverWait(browser, 20).until(lambda one: one.find_elements(By.CSS_SELECTOR, "#search-results li a"))
    assert any("Batches" in link.text for link in found)
    assert complaints(browser) == []


def test_tabs_switch_and_those_of_one_language_switch_together(browser, address):
    set_width(browser, DESK)
    browser.get(f"{address}/get_started.html")
    sets = browser.find_elements(By.CSS_SELECTOR, ".sd-tab-set")
    assert len(sets) > 1

    def shown() -> set[str]:
        visible = [tab for tab in browser.find_elements(By.CSS_SELECTOR, ".sd-tab-content") if tab.is_displayed()]
        return {"R" if "RunSCRAE" in tab.text or "CMD INSTALL" in tab.text else "other" for tab in visible[:2]}

    labels = {label.text: label for label in sets[0].find_elements(By.CSS_SELECTOR, "label.sd-tab-label")}
    assert list(labels) == ["R", "Python", "Command line"]
    labels["Python"].click()
    assert shown() == {"other"}
    labels["R"].click()
    assert shown() == {"R"}
