"""Follow every link of the built site that stays within it: ``check.py FOLDER``. Pages, anchors, images, downloads."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """What a page links to, and which anchors it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.append(value)
            elif name in ("id", "name") and value:
                self.anchors.add(value)


def broken(folder: Path) -> list[str]:
    """A line for each link that leads nowhere."""
    paths = [path for path in sorted(folder.rglob("*.html")) if "_static" not in path.parts]
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in paths}
    lost = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
            if not target.exists():
                lost.append(f"{path.relative_to(folder)}: {link}")
            elif target in pages and unquote(parts.fragment) not in pages[target].anchors:
                lost.append(f"{path.relative_to(folder)}: {link} (no such anchor)")
    return lost


def main(folder: Path) -> int:
    lost = broken(folder)
    print("\n".join(lost) if lost else f"docs: every link within the site leads somewhere ({folder})")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
