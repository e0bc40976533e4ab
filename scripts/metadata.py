"""What is said of the package in more than one file: its version, its maintainer and its addresses.

`python scripts/metadata.py check` compares, and ends with 1 where a file says something else.
`python scripts/metadata.py write` writes what python/scrae/_version.py and release.toml say into all others.
`python scripts/metadata.py version 0.2.0` sets a new version everywhere.
`python scripts/metadata.py date 2030-01-31` dates the version: what NEWS.md holds as unreleased becomes its section.
`python scripts/metadata.py notes` prints what NEWS.md says of the version; of what is unreleased where it has no date.
`python scripts/metadata.py publishable` ends with 1 while there are placeholders or the version has no date.
"""

from __future__ import annotations

import argparse
import datetime
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
AUTHORS = "The scRAE authors"
PAPER = "https://doi.org/10.1109/TCBB.2021.3098394"
VERSION = re.compile(r'^__version__ = "(.+)"$', flags=re.MULTILINE)
NUMBERS = re.compile(r"\d+\.\d+\.\d+")
"""R takes numbers and dots alone, so Python's suffixes (rc1, .dev0) have no place in a version of both."""
PLACEHOLDER = re.compile(r"\bexample\.org\b|\bPlaceholder\b")


def release_facts(root: Path) -> dict[str, Any]:
    facts = tomllib.loads((root / "release.toml").read_text(encoding="utf-8"))
    for value in values(facts):
        if not re.fullmatch(r'[^"\\\n]+', value):
            raise ValueError(f"release.toml: {value!r} is empty or has a quotation mark, a backslash or a line break")
    return facts


def values(facts: dict[str, Any]) -> list[str]:
    return [value for table in facts.values() for value in table.values()]


def version(root: Path) -> str:
    found = VERSION.search((root / "python/scrae/_version.py").read_text(encoding="utf-8"))
    if found is None:
        raise ValueError("python/scrae/_version.py has no line __version__ = ...")
    return found[1]


def once(pattern: str, replacement: str, text: str, where: str) -> str:
    """The text with its one match replaced: a file of another shape than expected is an error, never left as it is."""
    result, times = re.subn(pattern, lambda _: replacement, text, flags=re.MULTILINE)
    if times != 1:
        raise ValueError(f"{where}: {pattern!r} matches {times} times instead of once")
    return result


def description(text: str, number: str, facts: dict[str, Any]) -> str:
    """rpkg/DESCRIPTION: fields may go on in indented lines."""
    person, places = facts["maintainer"], facts["places"]
    authors = (
        f'c(\n    person("{person["given"]}", "{person["family"]}", email = "{person["email"]}",\n'
        f'        role = c("aut", "cre")),\n    person("{AUTHORS}", role = c("aut", "cph")))'
    )
    fields = {
        "Version": number,
        "Authors@R": authors,
        "URL": f"{places['site']}, {places['repository']},\n    {PAPER}",
        "BugReports": places["issues"],
    }
    for name, value in fields.items():
        text = once(rf"^{name}:.*(?:\n[ \t].*)*$", f"{name}: {value}", text, "rpkg/DESCRIPTION")
    return text


def pyproject(text: str, facts: dict[str, Any]) -> str:
    """pyproject.toml, which takes its version from _version.py by itself."""
    person, places = facts["maintainer"], facts["places"]
    maintainer = f'{{ name = "{person["given"]} {person["family"]}", email = "{person["email"]}" }}'
    text = once(r"^maintainers = .*$", f"maintainers = [{maintainer}]", text, "pyproject.toml")
    urls = {
        "Homepage": places["site"],
        "Repository": places["repository"],
        "Issues": places["issues"],
        "Paper": PAPER,
    }
    lines = "".join(f'\n{name} = "{url}"' for name, url in urls.items())
    return once(r"^\[project\.urls\](?:\n.+)*", f"[project.urls]{lines}", text, "pyproject.toml")


def citation(text: str, number: str, facts: dict[str, Any]) -> str:
    person, places = facts["maintainer"], facts["places"]
    contact = (
        f'contact:\n  - family-names: "{person["family"]}"\n    given-names: "{person["given"]}"\n'
        f'    email: "{person["email"]}"'
    )
    text = once(r"^version: .*$", f"version: {number}", text, "CITATION.cff")
    text = once(r"^url: .*$", f'url: "{places["site"]}"', text, "CITATION.cff")
    text = once(r"^repository-code: .*$", f'repository-code: "{places["repository"]}"', text, "CITATION.cff")
    return once(r"^contact:(?:\n[ \t].*)*$", contact, text, "CITATION.cff")


def recipe(text: str, number: str, facts: dict[str, Any]) -> str:
    """recipe/recipe.yaml, for conda-forge."""
    text = once(r"^  version: \"[^$\n]*\"$", f'  version: "{number}"', text, "recipe/recipe.yaml")
    return once(r"^  homepage: .*$", f"  homepage: {facts['places']['site']}", text, "recipe/recipe.yaml")


def r_news(text: str, number: str) -> str:
    """rpkg/NEWS.md: its first heading is that of the version at hand, as R reads it."""
    heading, rest = text.split("\n", 1)
    if not re.fullmatch(r"# scRAE \d+\.\d+\.\d+", heading):
        raise ValueError(f'rpkg/NEWS.md: its first line is "{heading}" instead of "# scRAE" and a version')
    return f"# scRAE {number}\n{rest}"


def wanted(root: Path) -> dict[Path, str]:
    """What each file has to hold."""
    facts, number = release_facts(root), version(root)
    if not NUMBERS.fullmatch(number):
        raise ValueError(f"python/scrae/_version.py: {number!r} is not three numbers with dots between them")

    def read(name: str) -> str:
        return (root / name).read_text(encoding="utf-8")

    return {
        root / "rpkg/DESCRIPTION": description(read("rpkg/DESCRIPTION"), number, facts),
        root / "rpkg/NEWS.md": r_news(read("rpkg/NEWS.md"), number),
        root / "pyproject.toml": pyproject(read("pyproject.toml"), facts),
        root / "CITATION.cff": citation(read("CITATION.cff"), number, facts),
        root / "recipe/recipe.yaml": recipe(read("recipe/recipe.yaml"), number, facts),
    }


def check(root: Path) -> list[str]:
    """What does not agree. The manual page that roxygen makes of DESCRIPTION is looked at, but not written, here."""
    wrong = [
        f"{path.relative_to(root)} disagrees with python/scrae/_version.py or release.toml: run `make metadata`"
        for path, text in wanted(root).items()
        if path.read_text(encoding="utf-8") != text
    ]
    page = (root / "rpkg/man/scRAE-package.Rd").read_text(encoding="utf-8")
    wrong += [
        f"rpkg/man/scRAE-package.Rd lacks {value} of release.toml: run `make metadata`"
        for value in values(release_facts(root))
        if value not in page
    ]
    return wrong


def write(root: Path) -> None:
    for path, text in wanted(root).items():
        path.write_text(text, encoding="utf-8")


def set_version(root: Path, number: str) -> None:
    if not NUMBERS.fullmatch(number):
        raise ValueError(f"{number!r} is not a version: three numbers with dots between them, please")
    old = version(root)
    path = root / "python/scrae/_version.py"
    path.write_text(VERSION.sub(f'__version__ = "{number}"', path.read_text(encoding="utf-8")), encoding="utf-8")
    news = root / "rpkg/NEWS.md"
    if old != number and f"## [{old}]" in (root / "NEWS.md").read_text(encoding="utf-8"):
        # The old version is out: its section stays, and a new one begins above it.
        news.write_text(f"# scRAE {number}\n\n" + news.read_text(encoding="utf-8"), encoding="utf-8")
    write(root)


def set_date(root: Path, date: str) -> None:
    datetime.date.fromisoformat(date)
    number = version(root)
    news, cff = root / "NEWS.md", root / "CITATION.cff"
    text = news.read_text(encoding="utf-8")
    if f"## [{number}]" in text:
        raise ValueError(f"NEWS.md has a section {number} already")
    section = f"## [Unreleased]\n\n## [{number}] - {date}"
    news.write_text(once(r"^## \[Unreleased\]$", section, text, "NEWS.md"), encoding="utf-8")
    text = re.sub(r"^date-released: .*\n", "", cff.read_text(encoding="utf-8"), flags=re.MULTILINE)
    dated = once(r"^version: .*$", f"version: {number}\ndate-released: {date}", text, "CITATION.cff")
    cff.write_text(dated, encoding="utf-8")


def notes(root: Path) -> str:
    """The section of NEWS.md on the version at hand; that of what is unreleased until it has a date."""
    text = (root / "NEWS.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## \[([^\]]+)\][^\n]*\n(.*?)(?=^## \[|\Z)", text, flags=re.MULTILINE | re.DOTALL))
    number = version(root)
    found = sections.get(number, sections.get("Unreleased", "")).strip()
    if not found:
        raise ValueError(f"NEWS.md says nothing about {number}")
    return f"# scRAE {number}\n\n{found}\n"


def unpublishable(root: Path) -> list[str]:
    """What stands in the way of publishing, beside what tests and checks find."""
    number, wrong = version(root), check(root)
    if any(PLACEHOLDER.search(value) for value in values(release_facts(root))):
        wrong.append("release.toml holds placeholders: fill it in, then run `make metadata`")
    if not re.search(rf"^## \[{re.escape(number)}\] - ", (root / "NEWS.md").read_text(encoding="utf-8"), re.MULTILINE):
        wrong.append(f"NEWS.md has no section {number}: `scripts/metadata.py date` makes it of what is unreleased")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("check", "write", "notes", "publishable"):
        commands.add_parser(name)
    commands.add_parser("version").add_argument("number")
    commands.add_parser("date").add_argument("date")
    given = parser.parse_args()
    wrong: list[str] = []
    try:
        if given.command == "check":
            wrong = check(given.root)
        elif given.command == "write":
            write(given.root)
        elif given.command == "version":
            set_version(given.root, given.number)
        elif given.command == "date":
            set_date(given.root, given.date)
        elif given.command == "notes":
            print(notes(given.root), end="")
        else:
            wrong = unpublishable(given.root)
    except ValueError as error:
        wrong = [str(error)]
    for line in wrong:
        print(f"metadata: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
