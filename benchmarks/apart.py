"""A program of this folder run once more, as a process of its own: nothing of one measurement is left in the next."""

from __future__ import annotations

import json
import subprocess
import sys


def in_a_process(program: str, *arguments: object, python: str = sys.executable) -> dict[str, float]:
    """The figures that ``program``, called with these arguments, prints as JSON in its last line.

    Parameters
    ----------
    program
        Its path.
    arguments
        What is typed after it.
    python
        Which Python runs it.
    """
    asked = [python, program, *map(str, arguments)]
    done = subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures
