"""Write requirements.lock: the newest versions that pyproject.toml allows, with all they need. Run by `make lock`.

Nothing is installed: pip works out what it would install into an empty environment and reports that. torch is the one
package held back by hand, because each of its versions brings its own set of CUDA libraries.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
HELD = ["torch==2.13.0"]
EXTRAS = "test,dev"
HEADER = f"""\
# What `make setup` installs: every package with its exact version. Made by `make lock`; do not edit.
# Resolved with Python {sys.version_info.major}.{sys.version_info.minor} from pyproject.toml and its extras {EXTRAS}.
"""


def normalised(name: str) -> str:
    """The one spelling of a package's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def resolve() -> dict[str, str]:
    """Version by name of everything that an empty environment would need, the project itself left out."""
    build_tools = ["setuptools"]  # the editable install builds without a network, with what is in the environment
    command = [sys.executable, "-m", "pip", "install", "-qq", "--dry-run", "--ignore-installed", "--report", "-"]
    answer = subprocess.run(
        [*command, *HELD, *build_tools, f"{ROOT}[{EXTRAS}]"], stdout=subprocess.PIPE, text=True, check=True
    )
    found = {}
    for package in json.loads(answer.stdout)["install"]:
        metadata = package["metadata"]
        if normalised(metadata["name"]) != "scrae":
            found[normalised(metadata["name"])] = metadata["version"].split("+")[0]  # 2.13.0+cpu is one build of 2.13.0
    return found


def main() -> None:
    lines = [f"{name}=={version}\n" for name, version in sorted(resolve().items())]
    LOCK.write_text(HEADER + "".join(lines))
    print(f"{LOCK.name}: {len(lines)} packages")


if __name__ == "__main__":
    main()
