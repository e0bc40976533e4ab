"""Lay out the sources of the documentation site: ``stage.py TARGET``.

Pages are read where they stand in the project, so that they can be read there, too. Those of ``docs/`` come to the top
of the site and those of other folders below ``project/``; links between them follow. A page that is linked to becomes a
page of the site, and any other file a download. The pages of the R reference are made from the Rd files.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path, PurePosixPath

import rd

ROOT = Path(__file__).resolve().parents[2]
SITE = PurePosixPath("docs/site")
LINK = re.compile(r"(\]\()([^)\s]+)(\))")
FILE_NAME = re.compile(r"\[[\w/]+\.md\](?=\((?![^)]*NEWS\.md))")  # as the text of a link
PAIR = re.compile(r"(?<=\d) / (?=[\d-])")  # two scores
MADE = re.compile(r"docs/(reference|tutorials)/r(/\w+(-\w+)*)?\.md")  # pages that are made in the build
ELSEWHERE = ("http://", "https://", "mailto:", "#")
NOTHING_HERE = """\
# R vignettes

The vignettes were not rendered in this build, because R or one of the packages that they need was missing.
`make docs` renders them where R is installed.
"""


def place(path: PurePosixPath) -> PurePosixPath:
    """Where a file of the project stands in the site."""
    if path.parts[0] == "docs":
        return PurePosixPath(*path.parts[1:])
    return "project" / path


def legible(text: str) -> str:
    """The text with the titles of pages in place of the names of their files, and with pairs of scores on one line."""
    return PAIR.sub("\u00a0/\u00a0", FILE_NAME.sub("[]", text))


def resolve(link: str, page: PurePosixPath) -> PurePosixPath:
    """The file of the project that a relative link of a page leads to."""
    return PurePosixPath(os.path.normpath(page.parent / link))


class Stage:
    """A folder that fills with pages, and with what these link to."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.waiting: list[PurePosixPath] = []
        self.seen: set[PurePosixPath] = set()

    def want(self, path: PurePosixPath) -> None:
        if path not in self.seen:
            self.seen.add(path)
            self.waiting.append(path)

    def write(self, place: PurePosixPath, text: str) -> None:
        """Only what is new is written, so that a second build is quick."""
        path = self.target / place
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def fill(self) -> None:
        while self.waiting:
            path = self.waiting.pop()
            source = ROOT / path
            if not source.is_file():
                raise SystemExit(f"docs: a page links to {path}, which is no file")
            if path.suffix == ".md":
                self.write(place(path), self.page(path, source.read_text(encoding="utf-8")))
            else:
                (self.target / place(path)).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, self.target / place(path))

    def page(self, path: PurePosixPath, text: str) -> str:
        """The text with its links as they are in the site, and with a title where it has none."""
        pieces = re.split(r"(^```.*?^```\n|^~~~.*?^~~~\n)", text, flags=re.M | re.S)
        pieces[::2] = [LINK.sub(lambda match: self.link(match, path), legible(piece)) for piece in pieces[::2]]
        text = "".join(pieces)
        if path.parts[:2] == ("benchmarks", "results") or path.parts[:3] == ("benchmarks", "studies", "results"):
            kind = "study" if "studies" in path.parts else "benchmark"
            text = f"# {path.stem.replace('_', ' ').capitalize()} ({kind})\n\n{text}"
        return text

    def link(self, match: re.Match[str], path: PurePosixPath) -> str:
        if match[2].startswith(ELSEWHERE):
            return match[0]
        name, separator, anchor = match[2].partition("#")
        aim = resolve(name, path)
        if not MADE.fullmatch(str(aim)):
            self.want(aim)
        relative = os.path.relpath(place(aim), place(path).parent)
        return f"{match[1]}{relative}{separator}{anchor}{match[3]}"


def r_reference(stage: Stage) -> None:
    made = rd.pages(ROOT / "rpkg" / "man")
    for name, (_, text) in made.items():
        stage.write(PurePosixPath("reference/r", f"{name}.md"), text)
    rows = [f"| [{name}](r/{name}.md) | {title} |" for name, (title, _) in made.items()]
    listing = "\n".join(f"r/{name}" for name in made)
    stage.write(
        PurePosixPath("reference/r.md"),
        "# R reference\n\nEvery function of the R package `scRAE`. Each page ends with an example, which `R CMD check` "
        "runs. In R the same pages open with `?RunSCRAE`, and so on.\n\n| page | what it is about |\n|---|---|\n"
        + "\n".join(rows)
        + f"\n\n```{{toctree}}\n:hidden:\n\n{listing}\n```\n",
    )


def number(page: Path) -> int:
    """The number of a vignette, with which its entry in R's index begins."""
    source = (ROOT / "vignettes" / f"{page.stem}.Rmd").read_text(encoding="utf-8")
    entry = re.search(r"VignetteIndexEntry\{(\d+)", source)
    if entry is None:
        raise SystemExit(f"docs: the index entry of the vignette {page.stem} has no number")
    return int(entry[1])


def vignettes(stage: Stage, rendered: Path) -> None:
    """Pages that R has rendered, with their figures; a page that says so where there are none."""
    pages = sorted(rendered.glob("*.md"), key=number)
    if not pages:
        stage.write(PurePosixPath("tutorials/r.md"), NOTHING_HERE)
        return
    rows, entries = [], []
    for page in pages:
        text = page.read_text(encoding="utf-8")
        stage.write(PurePosixPath("tutorials/r", page.name), text)
        name, _, shown = text.splitlines()[0].removeprefix("# ").partition(": ")
        rows.append(f"| [{name}](r/{page.name}) | {shown} |")
        entries.append(f"{name} <r/{page.stem}>")
    if (rendered / "figure").exists():
        shutil.copytree(rendered / "figure", stage.target / "tutorials/r/figure", dirs_exist_ok=True)
    listing, toctree = "\n".join(rows), "\n".join(entries)
    stage.write(
        PurePosixPath("tutorials/r.md"),
        "# R vignettes\n\nThe vignettes of the R package, rendered with their output. Begin with Seurat or with "
        f"Bioconductor, whichever you use.\n\n| vignette | what it shows |\n|---|---|\n{listing}\n\n"
        f"```{{toctree}}\n:hidden:\n\n{toctree}\n```\n",
    )


def main(target: Path) -> None:
    stage = Stage(target)
    for path in sorted((ROOT / "docs").rglob("*.md")):
        relative = PurePosixPath(path.relative_to(ROOT).as_posix())
        if not relative.is_relative_to(SITE):
            stage.want(relative)
    for name in ("NEWS.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "rpkg/NEWS.md"):
        stage.want(PurePosixPath(name))
    for folder in ("benchmarks/results", "benchmarks/studies/results"):
        for path in sorted((ROOT / folder).glob("*.md")):
            stage.want(PurePosixPath(path.relative_to(ROOT).as_posix()))
    stage.fill()
    r_reference(stage)
    vignettes(stage, target.parent / "vignettes")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
