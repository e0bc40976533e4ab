"""Whether this Python can do what the R package asks of it."""

from __future__ import annotations

from typing import Any

from scrae import doctor
from scrae.r.conversion import bridge, look_for_bridge


def status(*, quick: bool = False) -> dict[str, Any]:
    """What is installed (``findings``, texts by name), and what stops scRAE from working from R (``problems``).

    Where ``quick``, packages are looked for and asked for their versions, but not imported: that takes a second.
    """
    findings = doctor.report(quick=quick)
    problems = doctor.problems(findings)
    try:
        look_for_bridge() if quick else bridge()
    except ImportError as error:
        problems.append(str(error))
    return {"findings": findings, "problems": problems}
