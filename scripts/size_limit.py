"""Refuse binary files of more than 300 kB: every version stays whole in the history, and every clone pays for it.

`python scripts/size_limit.py FILE...` names those that are too large, and ends with 1 if there are any. pre-commit
calls it with the files of a commit, tests/python/test_packaging.py with all committed files.
"""

from __future__ import annotations

import sys
from pathlib import Path

LIMIT = 300_000


def is_binary(path: Path) -> bool:
    """As git sees it: a zero byte among the first 8,000."""
    with path.open("rb") as file:
        return b"\0" in file.read(8000)


def too_large(paths: list[Path]) -> list[Path]:
    return [path for path in paths if path.stat().st_size > LIMIT and is_binary(path)]


if __name__ == "__main__":
    found = too_large([Path(name) for name in sys.argv[1:]])
    for path in found:
        print(f"{path} has {path.stat().st_size / 1000:,.0f} kB, the limit for a binary file is {LIMIT / 1000:,.0f} kB")
    sys.exit(bool(found))
