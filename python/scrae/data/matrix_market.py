"""The text of a matrix of counts: looked at before its reader makes room for what it says, or reads half of a number.

Readers of Matrix Market files make arrays as long as the first lines ask for, take ``0.5`` among integers for 0, and
give ones for a matrix without values.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, NoReturn, cast

from scrae._errors import CountsError

BLOCK = 2**20  # characters looked at at once
OF_INTEGERS = b"0123456789+- \t\r\n"
OF_FIELDS = {"integer": OF_INTEGERS, "unsigned-integer": OF_INTEGERS, "real": None}  # None: any number
PARTIAL = re.compile(rb"(?m)^[ \t]*(?:\d+[ \t]+)?\d+[.eE]")  # a position with a fraction or an exponent


def refuse_malformed_text(path: Path, listed: Mapping[str, int]) -> None:
    """Refuse a matrix that is not one of counts, or of another shape than its lists of genes and cells.

    Parameters
    ----------
    path
        Text, compressed or not.
    listed
        What rows, and then columns, are, and how many of them are listed.

    Raises
    ------
    CountsError
        The message says what is wrong.
    """
    with _opened(path) as file:
        words = file.readline(1000).decode("ascii", "replace").lower().split()
        if len(words) != 5 or words[:3] != ["%%matrixmarket", "matrix", "coordinate"] or words[4] != "general":
            _refuse(path, f"it begins with {' '.join(words)[:100]!r}, not with '%%MatrixMarket matrix coordinate'")
        if words[3] not in OF_FIELDS:
            _refuse(path, f"it holds values of kind {words[3]!r}, where counts are integers")
        line = file.readline()
        while line.startswith(b"%"):
            line = file.readline()
        sizes = [int(size) for size in line.split() if size.isdigit()]
        if len(sizes) != 3:
            _refuse(path, f"it does not say how many genes, cells and entries it has: {line[:100]!r}")
        for (kind, n), said in zip(listed.items(), sizes, strict=False):
            if n != said:
                _refuse(path, f"it has {said:,} {kind}, and {n:,} are listed beside it")
        _refuse_other_characters(path, file, OF_FIELDS[words[3]], words[3])


def _refuse_other_characters(path: Path, file: IO[bytes], known: bytes | None, field: str) -> None:
    for block in _whole_lines(file):
        if known is not None and block.translate(None, known):
            line = next(line for line in block.splitlines() if line.translate(None, known))
            _refuse(path, f"it holds {line[:100]!r} among numbers of kind {field!r}")
        if known is None and PARTIAL.search(block):
            _refuse(path, "positions of genes or cells are not whole numbers")


def _whole_lines(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(BLOCK):
        yield block + file.readline()


def number_of_lines(path: Path) -> int:
    """Number of lines of a text that are not empty."""
    with _opened(path) as file:
        return sum(bool(line.strip()) for line in file)


def _opened(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path)) if path.suffix == ".gz" else open(path, "rb")


def _refuse(path: Path, fault: str) -> NoReturn:
    raise CountsError(
        f"{path} is damaged: {fault}. Read or write it anew from its source.", "damaged_matrix", fault=fault
    )
