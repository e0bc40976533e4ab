"""Links and paths in the documents lead to something."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path.relative_to(PROJECT)
    for pattern in ("*.md", "docs/*.md", "docs/*/*.md", "benchmarks/*.md", "benchmarks/*/*.md")
    for path in PROJECT.glob(pattern)
)


MADE = re.compile(r"r(/\w+)?\.md|\.\./reference/r/\w+\.md")  # of the documentation site: help of R and vignettes


def anchors(path: Path) -> set[str]:
    """Anchors of the headings of a document, as a forge makes them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-") for heading in headings}


def broken(document: Path) -> list[str]:
    """Relative links of a document that lead nowhere."""
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.S)
    lost = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = link.partition("#")
        target = document if not name else document.parent / name
        if document.parent.parent.name == "docs" and MADE.fullmatch(name):
            continue
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            lost.append(link)
    return lost


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_between_documents_lead_somewhere(document):
    assert broken(PROJECT / document) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path):
    (tmp_path / "there.md").write_text("# A `heading`, here\n")
    (tmp_path / "page.md").write_text("[a](there.md) [b](there.md#a-heading-here) [c](gone.md) [d](there.md#gone)\n")
    assert broken(tmp_path / "page.md") == ["gone.md", "there.md#gone"]


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if "results" not in name.parts], ids=str)
def test_files_that_a_document_names_are_there(document):
    """Paths in code marks that begin with a folder of the project; not those of other commits."""
    if document.name == "LOG.md":
        pytest.skip("it names files of the commits that it lists")
    folders = "python|rpkg|tests|benchmarks|docs|demo|scripts|vignettes"
    named = re.findall(rf"`((?:{folders})/[\w./-]+)`", (PROJECT / document).read_text(encoding="utf-8"))
    ignored = [name for name in named if "NAME" in name or "Question" in name]
    missing = [name for name in named if name not in ignored and not (PROJECT / name).exists()]
    made = [name for name in missing if is_ignored(name)]
    assert [name for name in missing if name not in made] == []


def is_ignored(name: str) -> bool:
    """Whether git ignores it, so that a command makes it."""
    return any(
        subprocess.run(["git", "check-ignore", "-q", path], cwd=PROJECT, check=False).returncode == 0
        for path in (name, name + "/")
    )
