"""Names of an earlier version that work for one version more, with a word."""

from __future__ import annotations

import warnings


def warn_of_old_name(old: str, new: str, stacklevel: int = 3) -> None:
    """Say, in the name of the caller's caller, that ``old`` is called ``new`` now."""
    warnings.warn(
        f"{old} is now called {new}; the old name goes with the next version", DeprecationWarning, stacklevel=stacklevel
    )
