"""The command ``scrae``: it finds the command that is asked for, and ends with one line where something is wrong."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from typing import TextIO

from scrae._version import __version__
from scrae.cli import look, models, report, run

WRONG_INPUT = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 0, 1 (a problem, says doctor), 2 (wrong input), 130 or 143 (stopped)."""
    options = parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            status: int = options.command(options)
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        print(f"scrae: {error}", file=sys.stderr)
        return WRONG_INPUT
    except KeyboardInterrupt:
        print("scrae: interrupted", file=sys.stderr)
        return INTERRUPTED
    return status


def parser() -> argparse.ArgumentParser:
    """What reads the command line; ``options.command(options)`` then does what was asked for."""
    parser = argparse.ArgumentParser(prog="scrae", description="Deep embeddings and clusters of single-cell counts.")
    parser.add_argument("--version", action="version", version=f"scrae {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (run, models, report, look):
        module.add_to(commands)
    return parser


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if not issubclass(category, DeprecationWarning | FutureWarning):
        print(f"scrae: {message}", file=sys.stderr)
