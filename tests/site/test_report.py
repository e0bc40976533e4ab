"""The report of a run in a browser: headless Chromium opens it, from a file. `make docs-check` runs this."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import scrae

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is in .venv-docs, which `make docs` makes")

PHONE, DESK = 390, 1280
pytestmark = pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")),
    reason="Chromium or its driver is missing (Debian: apt-get install chromium chromium-driver)",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with all its parts; a type and a gene have names that would be a program if they were no text."""
    adata = scrae.datasets.pbmc()
    adata.obs["donor"] = ["a", "b"] * 350
    adata.obs["cell_type"] = adata.obs["cell_type"].cat.rename_categories(
        {"CD19+ B": "<script>document.title=1</script>"}
    )
    adata.var_names = ["<img src=x onerror=document.title=2>", *adata.var_names[1:]]
    model = scrae.SCRAE(max_epochs=5, verbose=False).fit(adata)
    scrae.tl.scrae(adata, max_epochs=5, batch_key="donor", verbose=False)
    scrae.tl.cluster(adata)
    scrae.tl.outliers(adata, model, key_added="scrae_outlier")
    adata.obsm["X_umap"] = np.asarray(adata.obsm["X_umap_published"])
    return scrae.pl.report(adata, tmp_path_factory.mktemp("report") / "run.html", labels_key="cell_type", title="A run")


@pytest.mark.parametrize("width", [DESK, PHONE])
def test_the_report_opens_without_an_error_or_a_request_and_fits_the_screen(browser, file, width):
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get_log("performance")
    browser.get(file.as_uri())
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    asked = [
        entry["message"] for entry in browser.get_log("performance") if "Network.requestWillBeSent" in entry["message"]
    ]
    assert [message for message in asked if file.as_uri() not in message and "data:image/png" not in message] == []
    assert browser.title == "A run"
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    pictures = browser.execute_script(
        "return Array.from(document.images).map(one => [one.naturalWidth, one.clientWidth])"
    )
    assert len(pictures) == 9
    assert min(min(sizes) for sizes in pictures) > 100


def test_links_of_the_report_lead_to_its_parts(browser, file):
    browser.get(file.as_uri())
    lost = browser.execute_script(
        "return Array.from(document.querySelectorAll('nav a')).filter(a => !document.querySelector(a.hash)).length"
    )
    assert lost == 0
