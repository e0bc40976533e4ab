"""Print the oldest versions that pyproject.toml allows, as constraints for pip: `numpy>=2.0` becomes `numpy==2.0`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def oldest(requirements: list[str]) -> list[str]:
    """Of those that have a lower bound; what is needed by others alone is pip's choice."""
    found = (re.match(r"([A-Za-z0-9._-]+)>=([0-9.]+)", line) for line in requirements)
    return [f"{match[1]}=={match[2]}" for match in found if match]


if __name__ == "__main__":
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    print("\n".join(oldest(project["dependencies"])))
