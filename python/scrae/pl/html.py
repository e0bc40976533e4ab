"""A page of HTML that needs nothing but itself, in which every text is escaped unless it was made here."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 130
BROAD = 7.5  # inches, above which a figure scrolls sideways on a phone instead of shrinking
NUMBER = {"class_": "number"}
ALONE = ("br", "img", "meta")  # tags without an end
STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 74rem; padding: 0 1rem 4rem; background: #fff; color: #1d232b;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 2rem 0 .3rem; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .6rem; padding-top: .8rem; border-top: 1px solid #d9dee5; }
p { margin: .5rem 0; max-width: 46rem; }
nav { font-size: .92rem; margin: .8rem 0 0; }
nav a { display: inline-block; margin-right: 1rem; }
a { color: #0060a8; }
.quiet { color: #5b6573; font-size: .92rem; }
.missing { background: #f4f6f8; border-left: 4px solid #9aa5b1; padding: .5rem .8rem; }
.note { background: #fff7e6; border-left: 4px solid #d98e04; padding: .2rem .8rem .2rem 2rem; margin: .6rem 0;
  max-width: 46rem; }
.note li { margin: .35rem 0; }
code, pre { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .88em; }
code { background: #eef1f4; padding: .1em .3em; border-radius: 3px; }
pre { background: #f4f6f8; padding: .8rem 1rem; border-radius: 4px; overflow-x: auto; }
pre code { background: none; padding: 0; }
.wide { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .92rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid #e4e8ed; }
thead th { border-bottom: 2px solid #9aa5b1; font-weight: 600; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.swatch { display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin-right: .45em; }
td:not(.number):not(:first-child) { min-width: 9rem; }
figure { margin: .8rem 0; overflow-x: auto; }
figure img { max-width: 100%; height: auto; display: block; }
figcaption { color: #5b6573; font-size: .92rem; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; }
.pictures figure { flex: none; max-width: 100%; }
@media screen and (max-width: 40rem) {
  figure.broad img { max-width: none; }
  td:not(.number):not(:first-child) { min-width: 14rem; }
}
@media print { body { max-width: none; } h2 { break-after: avoid; } figure, table { break-inside: avoid; } }
"""


class Html(str):
    """Markup. Any other text is escaped when it is put into markup."""

    __slots__ = ()


def markup(text: str) -> Html:
    """The text as markup."""
    return text if isinstance(text, Html) else Html(escape(str(text)))


def together(parts: Iterable[str]) -> Html:
    """Several pieces of markup or text, one after the other."""
    return Html("".join(markup(part) for part in parts))


def tag(name: str, /, *inside: str, **attributes: str) -> Html:
    """An element: ``tag("p", "a < b", class_="quiet")`` is ``<p class="quiet">a &lt; b</p>``."""
    given = "".join(f' {key.rstrip("_")}="{escape(value)}"' for key, value in attributes.items())
    if name in ALONE:
        return Html(f"<{name}{given}>")
    return Html(f"<{name}{given}>{together(inside)}</{name}>")


def paragraph(*inside: str) -> Html:
    """A paragraph."""
    return tag("p", *inside)


def swatch(colour: str) -> Html:
    """A dot of this colour, to stand before the name of a group."""
    return tag("span", class_="swatch", style=f"background: {colour}")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> Html:
    """A table that scrolls sideways where the screen is narrow; columns of ``numbers`` are set to the right."""

    def cells(kind: str, row: Sequence[str]) -> Html:
        return tag("tr", *(tag(kind, part, **(NUMBER if i in numbers else {})) for i, part in enumerate(row)))

    body = tag("tbody", *(cells("td", row) for row in rows))
    top = tag("thead", cells("th", head)) if any(head) else Html("")
    return tag("div", tag("table", top, body), class_="wide")


def picture(figure: Figure | None, alt: str, caption: str = "") -> Html:
    """A figure as an image that stands in the page itself, as wide as on paper where there is room."""
    assert figure is not None, "it was not shown"
    file = BytesIO()
    figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
    source = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
    width = str(round(figure.get_size_inches()[0] * 96))
    shown = tag("img", src=source, alt=alt, width=width)
    broad = {"class_": "broad"} if figure.get_size_inches()[0] > BROAD else {}
    return tag("figure", shown, *([tag("figcaption", caption)] if caption else []), **broad)


def page(title: str, *body: str) -> str:
    """The whole page. It runs no program and asks for nothing, and a browser is told to allow it neither."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        Html(
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
            "style-src 'unsafe-inline'\">"
        ),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", Html(STYLE)),
    )
    return "<!DOCTYPE html>\n" + tag("html", head, tag("body", *body), lang="en") + "\n"
