"""Pages of the R reference, as Markdown, from the Rd files that roxygen writes.

R itself is not needed. What is understood are the marks that occur in ``rpkg/man``; any other mark is an error, so that
nothing is lost without a word.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ARITY = {"tab": 0, "cr": 0, "dots": 0, "R": 0, "section": 2, "method": 2, "href": 2, "tabular": 2, "item": 2}
SPECIAL = re.compile(r"([*_<>\[\]`$])")
DROPPED = {"name", "alias", "title", "docType", "keyword", "encoding"}
HEADINGS = {
    "usage": "Usage",
    "arguments": "Arguments",
    "value": "Value",
    "details": "Details",
    "examples": "Examples",
    "references": "References",
    "seealso": "See also",
    "author": "Author",
}
ORDER = (
    "description",
    "usage",
    "arguments",
    "value",
    "details",
    "section",
    "examples",
    "seealso",
    "references",
    "author",
)


class Mark(NamedTuple):
    """``\\name[option]{argument}{argument}``, or a group in braces, whose name is ``{``."""

    name: str
    option: str
    arguments: list[list[str | Mark]]


def parse(text: str) -> list[str | Mark]:
    """The text between marks, and the marks, in their order."""
    found, at = _parse(text, 0)
    if at != len(text):
        raise ValueError(f"a brace too many at position {at}")
    return found


def _parse(text: str, at: int) -> tuple[list[str | Mark], int]:
    found: list[str | Mark] = []
    while at < len(text) and text[at] != "}":
        if text[at] == "%":
            at = text.find("\n", at) % (len(text) + 1)
        elif text[at] == "{":
            inside, at = _parse(text, at + 1)
            found.append(Mark("{", "", [inside]))
            at += 1
        elif text[at] == "\\":
            name = re.match(r"[A-Za-z]*", text[at + 1 :])[0]
            if not name:
                found.append(text[at + 1])
                at += 2
                continue
            mark, at = _mark(text, at + 1 + len(name), name)
            found.append(mark)
        else:
            plain = re.match(r"[^\\{}%]+", text[at:])[0]
            found.append(plain)
            at += len(plain)
    return found, at


def _mark(text: str, at: int, name: str) -> tuple[Mark, int]:
    option = ""
    if text[at : at + 1] == "[":
        end = text.index("]", at)
        option, at = text[at + 1 : end], end + 1
    arguments = []
    while len(arguments) < ARITY.get(name, 1) and text[at : at + 1] == "{":
        inside, at = _parse(text, at + 1)
        arguments.append(inside)
        at += 1
    return Mark(name, option, arguments), at


def plain(nodes: list[str | Mark]) -> str:
    """The text as R code has it, without marks."""
    parts = []
    for node in nodes:
        if isinstance(node, str):
            parts.append(node)
        elif node.name == "{":
            parts.append("{" + plain(node.arguments[0]) + "}")
        elif node.name == "method":
            generic, kind = map(plain, node.arguments)
            parts.append(f"# for {'any other object' if kind == 'default' else kind}\n{generic}")
        elif node.name == "dots":
            parts.append("...")
        elif node.name in ("code", "link", "verb", "dontrun", "donttest", "emph", "strong", "url", "doi"):
            parts.append(plain(node.arguments[0]))
        else:
            raise ValueError(f"the mark \\{node.name} is not known in code")
    return "".join(parts)


def _code(nodes: list[str | Mark], topics: dict[str, str]) -> str:
    links = [node for node in nodes if isinstance(node, Mark) and node.name == "link"]
    shown = f"`{plain(nodes)}`"
    if len(links) == 1:
        page = topics.get(links[0].option.removeprefix("=") or plain(links[0].arguments[0]))
        return f"[{shown}]({page}.md)" if page else shown
    return shown


def markdown(nodes: list[str | Mark], topics: dict[str, str]) -> str:
    """Running text; ``topics`` has the page of each topic that can be linked to."""
    parts = []
    for node in nodes:
        if isinstance(node, str):
            parts.append(SPECIAL.sub(r"\\\1", node))
            continue
        argument = node.arguments[-1] if node.arguments else []
        match node.name:
            case "code" | "verb":
                parts.append(_code(argument, topics))
            case "link":
                page = topics.get(node.option.removeprefix("=") or plain(argument))
                parts.append(f"[{plain(argument)}]({page}.md)" if page else plain(argument))
            case "emph":
                parts.append(f"*{markdown(argument, topics)}*")
            case "strong":
                parts.append(f"**{markdown(argument, topics)}**")
            case "url":
                parts.append(f"<{plain(argument)}>")
            case "href":
                parts.append(f"[{markdown(argument, topics)}]({plain(node.arguments[0])})")
            case "doi":
                parts.append(f"[doi:{plain(argument)}](https://doi.org/{plain(argument)})")
            case "email":
                parts.append(plain(argument))
            case "dots":
                parts.append("...")
            case "preformatted":
                parts.append(f"\n```r\n{plain(argument).strip()}\n```\n")
            case "itemize" | "describe":
                parts.append("\n\n" + _items(argument, topics) + "\n\n")
            case "tabular":
                parts.append("\n\n" + _table(argument, topics) + "\n\n")
            case "{":
                parts.append(markdown(argument, topics))
            case _:
                raise ValueError(f"the mark \\{node.name} is not known in text")
    return "".join(parts)


def _indented(text: str) -> str:
    return re.sub(r"\n(?=.)", "\n  ", re.sub(r"\n{3,}", "\n\n", text.strip()))


def _items(nodes: list[str | Mark], topics: dict[str, str]) -> str:
    """``\\item`` with a name and a text, or with the text behind it."""
    items: list[str] = []
    behind: list[str | Mark] = []

    def close() -> None:
        if items and items[-1] == "":
            items[-1] = f"- {_indented(markdown(behind, topics))}"
        behind.clear()

    for node in nodes:
        if not (isinstance(node, Mark) and node.name == "item"):
            behind.append(node)
            continue
        close()
        if len(node.arguments) == 2:
            name, text = node.arguments
            bare = plain(name) if all(isinstance(part, str) or part.name == "dots" for part in name) else None
            label = markdown(name, topics) if bare is None else f"`{bare}`"
            items.append(f"- {label}: {_indented(markdown(text, topics))}")
        else:
            items.append("")
    close()
    return "\n".join(items)


def _table(nodes: list[str | Mark], topics: dict[str, str]) -> str:
    rows: list[list[list[str | Mark]]] = [[[]]]
    for node in nodes:
        if isinstance(node, Mark) and node.name == "tab":
            rows[-1].append([])
        elif isinstance(node, Mark) and node.name == "cr":
            rows.append([[]])
        else:
            rows[-1][-1].append(node)
    cells = [[markdown(cell, topics).strip().replace("|", "\\|") for cell in row] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in cells if any(row)]
    return "\n".join([lines[0], "|" + "---|" * len(cells[0]), *lines[1:]])


def _usage(code: str) -> list[str]:
    """How a function is called: a tab for each kind of object that it has a method for."""
    common, *methods = re.split(r"^# for (.*)\n", code.strip("\n"), flags=re.M)
    lines = ["```r", common.strip("\n"), "```", ""] if common.strip() else []
    if not methods:
        return lines
    tabs = sorted(zip(methods[::2], methods[1::2], strict=True), key=lambda tab: (tab[0] == "any other object", tab[0]))
    lines += ["::::{tab-set}", ":sync-group: object", ""]
    for kind, usage in tabs:
        label = "Matrix" if kind == "any other object" else kind
        lines += [f":::{{tab-item}} {label}", f":sync: {label.lower()}", ""]
        lines += ["```r", usage.strip("\n"), "```", "", ":::", ""]
    return [*lines, "::::", ""]


def page(nodes: list[str | Mark], topics: dict[str, str]) -> str:
    """The whole page of one Rd file."""
    marks = [node for node in nodes if isinstance(node, Mark)]
    name = next(plain(mark.arguments[0]) for mark in marks if mark.name == "name")
    title = next(markdown(mark.arguments[0], topics) for mark in marks if mark.name == "title")
    unknown = {mark.name for mark in marks} - set(ORDER) - DROPPED
    if unknown:
        raise ValueError(f"sections that are not known: {unknown}")
    lines = [f"# {name}", "", f"**{title.strip()}**", ""]
    for mark in sorted((mark for mark in marks if mark.name in ORDER), key=lambda mark: ORDER.index(mark.name)):
        content = mark.arguments[-1]
        if mark.name == "section":
            lines += [f"## {markdown(mark.arguments[0], topics).strip()}", ""]
        elif mark.name in HEADINGS:
            lines += [f"## {HEADINGS[mark.name]}", ""]
        if mark.name == "usage":
            lines += _usage(plain(content))
        elif mark.name == "examples":
            lines += ["```r", plain(content).strip("\n"), "```", ""]
        elif any(isinstance(node, Mark) and node.name == "item" for node in content):
            first = next(i for i, node in enumerate(content) if isinstance(node, Mark) and node.name == "item")
            lines += [markdown(content[:first], topics).strip(), "", _items(content[first:], topics), ""]
        else:
            lines += [re.sub(r"\n{3,}", "\n\n", markdown(content, topics).strip()), ""]
    return "\n".join(lines)


def title_of(nodes: list[str | Mark]) -> str:
    return next(plain(mark.arguments[0]) for mark in nodes if isinstance(mark, Mark) and mark.name == "title")


def pages(folder: Path) -> dict[str, tuple[str, str]]:
    """Title and page by name, of all Rd files in a folder."""
    parsed = {path.stem: parse(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.Rd"))}
    topics = {
        plain(node.arguments[0]): name
        for name, nodes in parsed.items()
        for node in nodes
        if isinstance(node, Mark) and node.name in ("alias", "name")
    }
    return {name: (re.sub(r"\s+", " ", title_of(nodes)).strip(), page(nodes, topics)) for name, nodes in parsed.items()}
