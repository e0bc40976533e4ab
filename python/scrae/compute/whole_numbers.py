"""Numbers that users give: of the kind that is meant, or refused; never cut to something near."""

from __future__ import annotations

from numbers import Real
from typing import Any, TypeGuard

from scrae._errors import Refusal
from scrae._messages import shown

SEEDS = 2**32  # numpy's old generators, which scikit-learn draws from, take none from here on


def is_number(value: Any) -> TypeGuard[float]:
    """Whether it is one number, of Python or numpy."""
    return isinstance(value, Real) and not isinstance(value, bool)


def at_least(name: str, value: Any, least: int) -> int:
    """The value as an integer, where it is a whole number of at least ``least``.

    Raises
    ------
    ValueError
        It is not; the message names it.
    """
    if not is_number(value) or not float(value).is_integer() or value < least:
        raise Refusal(
            f"{name} must be a whole number of at least {least}, not {shown(value)}",
            "no_whole_number",
            name=name,
            least=least,
            value=value,
        )
    return int(value)


def seed(value: Any, name: str = "random_state") -> int:
    """A seed that torch, numpy and scikit-learn all take.

    Raises
    ------
    ValueError
        Not a whole number from 0 to 2**32 - 1.
    """
    whole = at_least(name, value, 0)
    if whole >= SEEDS:
        raise Refusal(
            f"{name} must be a whole number below {SEEDS:,}, not {whole:,}",
            "not_within",
            name=name,
            low=0,
            high=SEEDS,
            value=whole,
        )
    return whole


def not_negative(name: str, value: Any) -> float:
    """The value, where it is a number and neither negative nor missing.

    Raises
    ------
    ValueError
        It is not; the message names it.
    """
    if not is_number(value):
        raise Refusal(
            f"{name} must be a number, not {shown(value)}", "other_kind", name=name, kind="float", value=value
        )
    if not value >= 0:
        raise Refusal(f"{name} must not be negative, not {shown(value)}", "negative", names=[name], values=[value])
    return float(value)
