"""exp, log, log1p and sums in single precision, written so that a compiler makes vector instructions of a loop.

Compiled numpy calls the C library for each number instead. All are right to a few units in the last place.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from scrae.compute.compilation import compiled

f32, i32 = np.float32, np.int32

ZERO, HALF, ONE, TWO = f32(0.0), f32(0.5), f32(1.0), f32(2.0)
LOG2_OF_E = f32(1.44269504088896341)
LOG_2_HIGH, LOG_2_LOW = f32(0.693359375), f32(-2.12194440e-4)  # their sum is log 2, the first has few bits
LEAST, LARGEST = f32(-87.0), f32(88.0)  # of exp's argument: beyond, the result is no longer a normal number
EXP = tuple(f32(1 / factorial) for factorial in (5040, 720, 120, 24, 6, 2))
HALF_ROOT = i32(0x3F3504F3)  # the bits of the root of 1/2
ATANH = tuple(f32(2 / odd) for odd in (15, 13, 11, 9, 7, 5, 3))


@njit(inline="always")
def exp(x: np.float32) -> np.float32:  # pragma: no cover (compiled)
    """e^x = 2^n e^(x - n log 2), with n a whole number and Taylor's series; x beyond -87 and 88 is taken for these."""
    x = min(max(x, LEAST), LARGEST)
    n = np.floor(x * LOG2_OF_E + HALF)
    x = x - n * LOG_2_HIGH - n * LOG_2_LOW
    y = ((((EXP[0] * x + EXP[1]) * x + EXP[2]) * x + EXP[3]) * x + EXP[4]) * x + EXP[5]
    exponent = i32((i32(n) + i32(127)) << i32(23)).view(f32)  # the bits of 2^n
    return (y * x * x + x + ONE) * exponent


@njit(inline="always")
def log1p(x: np.float32) -> np.float32:  # pragma: no cover (compiled)
    """log(1 + x) = 2 atanh(x / (2 + x)) for x in [0, 1], by the series of atanh."""
    s = x / (TWO + x)
    square = s * s
    y = ((ATANH[0] * square + ATANH[1]) * square + ATANH[2]) * square + ATANH[3]
    y = ((y * square + ATANH[4]) * square + ATANH[5]) * square + ATANH[6]
    return TWO * s + y * square * s


@njit(inline="always")
def log(x: np.float32) -> np.float32:  # pragma: no cover (compiled)
    """log x = n log 2 + 2 atanh((y - 1) / (y + 1)) for x = 2^n y, y from the root of 1/2 to that of 2.

    x is above zero and normal, or not a number, which the result is then, too.
    """
    bits = f32(x).view(i32)
    n = i32(bits - HALF_ROOT) >> i32(23)
    y = i32(bits - (n << i32(23))).view(f32)
    s = (y - ONE) / (y + ONE)
    square = s * s
    rest = ((ATANH[2] * square + ATANH[3]) * square + ATANH[4]) * square + ATANH[5]
    rest = (rest * square + ATANH[6]) * square * s
    power = f32(n) + (x - x)  # bits have no word for what is not a number
    return power * LOG_2_HIGH + (TWO * s + (rest + power * LOG_2_LOW))


@compiled(nogil=True, fastmath={"reassoc"})
def total(x: np.ndarray) -> np.float32:  # pragma: no cover (compiled)
    """Sum of single-precision numbers, in an order that the compiler chooses."""
    result = ZERO
    for k in range(len(x)):
        result += x[k]
    return result
