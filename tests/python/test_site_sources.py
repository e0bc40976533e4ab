"""What the documentation site is made from: pages of R's help, links between pages, and the look at every link."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site() -> Iterator[SimpleNamespace]:
    """The programs in docs/site, which are no package."""
    sys.path.insert(0, str(ROOT / "docs" / "site"))
    try:
        import check
        import rd
        import stage

        yield SimpleNamespace(check=check, rd=rd, stage=stage)
    finally:
        sys.path.remove(str(ROOT / "docs" / "site"))


def test_every_help_page_of_r_becomes_a_page_that_keeps_its_words(site) -> None:
    made = site.rd.pages(ROOT / "rpkg" / "man")
    assert set(made) == {path.stem for path in (ROOT / "rpkg" / "man").glob("*.Rd")}
    for name, (_, page) in made.items():
        source = (ROOT / "rpkg" / "man" / f"{name}.Rd").read_text(encoding="utf-8")
        words = re.findall(r"[a-z]{6,}", re.sub(r"^%.*$|\\(alias|keyword|docType)\{.*\}", "", source, flags=re.M))
        marks = set(re.findall(r"\\([a-z]+)", source)) | {"default"}
        lost = {word for word in words if word not in page and word not in marks and not word.startswith("l" * 5)}
        assert lost == set(), name


def test_marks_of_r_help_become_markdown(site) -> None:
    nodes = site.rd.parse(r"\code{\link[=Run]{Run()}} and \emph{50 \% of a*b}: \code{x \%in\% y, \{1\}} % a comment")
    assert site.rd.markdown(nodes, {"Run": "page"}) == "[`Run()`](page.md) and *50 % of a\\*b*: `x %in% y, {1}` "


def test_a_mark_that_is_not_known_is_refused(site) -> None:
    with pytest.raises(ValueError, match=r"\\eqn is not known"):
        site.rd.markdown(site.rd.parse(r"\eqn{a^2}"), {})


def test_links_follow_pages_to_their_place_in_the_site(site, tmp_path) -> None:
    stage = site.stage.Stage(tmp_path)
    page = PurePosixPath("docs/tutorials/x.md")
    text = "[a](../MODEL.md#x) [b](../../NEWS.md) [c](https://x.org)\n```\n[d](nowhere.md)\n```\n"
    assert stage.page(page, text) == (
        "[a](../MODEL.md#x) [b](../project/NEWS.md) [c](https://x.org)\n```\n[d](nowhere.md)\n```\n"
    )
    assert stage.seen == {PurePosixPath("docs/MODEL.md"), PurePosixPath("NEWS.md")}


def test_a_link_by_the_name_of_a_file_gets_the_title_of_its_page(site, tmp_path) -> None:
    text = "[MODEL.md](MODEL.md#x) [the model](MODEL.md) [rpkg/NEWS.md](../rpkg/NEWS.md)\n"
    made = site.stage.Stage(tmp_path).page(PurePosixPath("docs/x.md"), text)
    assert made == "[](MODEL.md#x) [the model](MODEL.md) [rpkg/NEWS.md](project/rpkg/NEWS.md)\n"


def test_a_pair_of_scores_is_not_torn_apart_at_the_end_of_a_line(site, tmp_path) -> None:
    text = "0.8 / 0.7, 6 / 3 / 5, and / or\n```\n0.8 / 0.7\n```\n"
    made = site.stage.Stage(tmp_path).page(PurePosixPath("docs/x.md"), text)
    assert made == "0.8\u00a0/\u00a00.7, 6\u00a0/\u00a03\u00a0/\u00a05, and / or\n```\n0.8 / 0.7\n```\n"


def test_vignettes_are_listed_by_their_number_with_what_they_show(site, tmp_path) -> None:
    (tmp_path / "vignettes").mkdir()
    for name in ("bioconductor", "family", "seurat"):
        (tmp_path / "vignettes" / f"{name}.md").write_text(f"# About {name}: what it shows\n\nText\n")
    site.stage.vignettes(site.stage.Stage(tmp_path / "source"), tmp_path / "vignettes")
    listing = (tmp_path / "source" / "tutorials" / "r.md").read_text()
    assert re.findall(r"^\| \[(.*?)\]\((.*?)\) \| (.*?) \|$", listing, flags=re.M) == [
        ("About seurat", "r/seurat.md", "what it shows"),
        ("About bioconductor", "r/bioconductor.md", "what it shows"),
        ("About family", "r/family.md", "what it shows"),
    ]
    assert re.findall(r"^About \w+ <r/(\w+)>$", listing, flags=re.M) == ["seurat", "bioconductor", "family"]


def test_a_link_to_a_file_that_is_not_there_stops_the_build(site, tmp_path) -> None:
    stage = site.stage.Stage(tmp_path)
    stage.page(PurePosixPath("docs/x.md"), "[a](gone.md)")
    with pytest.raises(SystemExit, match=r"docs/gone\.md, which is no file"):
        stage.fill()


def test_links_anchors_and_images_that_lead_nowhere_are_found(site, tmp_path) -> None:
    (tmp_path / "a.html").write_text('<a href="b.html#there">1</a><a href="b.html#gone">2</a><img src="c.png">')
    (tmp_path / "b.html").write_text('<p id="there"></p><a href="https://example.org/x">3</a><a href="#gone">4</a>')
    assert site.check.broken(tmp_path) == [
        "a.html: b.html#gone (no such anchor)",
        "a.html: c.png",
        "b.html: #gone (no such anchor)",
    ]
