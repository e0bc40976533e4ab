"""``--set name=value``: any setting of the model on the command line."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterable
from typing import Any

WORDS = {"true": True, "false": False, "none": None, "null": None}  # whatever the case
# What has an option of its own, so that nothing can be said in two ways.
OPTIONS = {
    "preset": "--preset",
    "max_epochs": "--max-epochs",
    "n_latent": "--n-latent",
    "random_state": "--seed",
    "device": "--device",
    "verbose": "--quiet",
}


def add_set(parser: argparse.ArgumentParser) -> None:
    """Add the option to a command."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="NAME=VALUE",
        help="any setting of scrae.SCRAE or option of its regulariser, as often as needed: --set mask_rate=0.5 "
        '--set "n_hidden=(256, 128)"',
    )


def settings_of(typed: Iterable[str]) -> dict[str, Any]:
    """Settings by name, from what was typed.

    Raises
    ------
    ValueError
        No ``=``, a name twice, or one that has an option of its own.
    """
    settings: dict[str, Any] = {}
    for pair in typed:
        name, sign, value = pair.partition("=")
        name = name.strip().replace("-", "_")
        if not sign or not name:
            raise ValueError(f"--set {pair}: write it as name=value")
        if name in OPTIONS:
            raise ValueError(f"--set {pair}: use {OPTIONS[name]}")
        if name in settings:
            raise ValueError(f"--set {pair}: {name} is set twice")
        settings[name] = value_of(value.strip())
    return settings


def value_of(typed: str) -> Any:
    """A number, a tuple, True, False or None as Python writes them; anything else is text."""
    if typed.lower() in WORDS:
        return WORDS[typed.lower()]
    try:
        return ast.literal_eval(typed)
    except (ValueError, SyntaxError):
        return typed
