"""Refuse binary files of more than 300 kB: figures, data and archives stay in the history for ever.

`python scripts/size_limit.py FILE...` looks at these files; pre-commit calls it with those of a commit. A file that the
last commit holds already may stay as large as it is there, but may not grow.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LIMIT = 300_000


def is_binary(path: Path) -> bool:
    with path.open("rb") as file:
        return b"\0" in file.read(8192)


def committed_size(path: Path) -> int:
    """In bytes, by the last commit; 0 where it has no such file."""
    name = f"HEAD:./{path.name}"
    answer = subprocess.run(
        ["git", "cat-file", "-s", name], cwd=path.parent, capture_output=True, text=True, check=False
    )
    return int(answer.stdout) if answer.returncode == 0 else 0


def too_large(paths: list[Path]) -> list[str]:
    found = []
    for path in paths:
        if path.is_symlink() or not path.is_file() or not is_binary(path):
            continue
        size = path.stat().st_size
        if size > max(LIMIT, committed_size(path)):
            found.append(f"{path} has {size / 1000:,.0f} kB, the limit for a binary file is {LIMIT / 1000:,.0f} kB")
    return found


if __name__ == "__main__":
    wrong = too_large([Path(name) for name in sys.argv[1:]])
    for line in wrong:
        print(line)
    sys.exit(bool(wrong))
