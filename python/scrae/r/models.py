"""The last models that jobs asked, kept by the digest of their bytes: the next question finds its model loaded."""

from __future__ import annotations

import copy
import hashlib
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scrae.model import SCRAE

FILES = ("weights.safetensors", "scrae.json")
MOST, MOST_BYTES = 4, 64 * 2**20


class KeptModels:
    """Loaded models on the processor, those that were asked last.

    A model is what R keeps in its objects: weights, names of genes and types, numbers that describe the training cells
    together. No count of a cell is among it.

    Parameters
    ----------
    most, most_bytes
        How many are kept, and how large they are together as files.
    """

    def __init__(self, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
        self.most, self.most_bytes = most, most_bytes
        self._kept: OrderedDict[str, tuple[SCRAE, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, folder: Path) -> None:
        """Load the model in a folder, if it is not kept already, and keep it in place of the one asked longest ago.

        One that cannot be loaded is left alone: who asks it is told why.
        """
        import torch

        from scrae.model import SCRAE

        digest, size = _digest(folder)
        if not digest or size > self.most_bytes:
            return
        if digest not in self._kept:
            threads = torch.get_num_threads()
            torch.set_num_threads(1)  # a process that has started others' threads cannot be forked safely
            try:
                self._kept[digest] = SCRAE.load(folder, device="cpu", verbose=False), size
            except Exception:
                return
            finally:
                torch.set_num_threads(threads)
        self._kept.move_to_end(digest)
        while len(self._kept) > self.most or sum(size for _, size in self._kept.values()) > self.most_bytes:
            self._kept.popitem(last=False)

    def find(self, folder: str | Path, device: str) -> SCRAE | None:
        """The model in a folder as an object of its own, if it is kept and ``device`` is the processor."""
        from scrae.compute.device import resolve_device

        if not self._kept or resolve_device(device).type != "cpu":
            return None
        model, _ = self._kept.get(_digest(Path(folder))[0], (None, 0))
        return copy.copy(model)  # what it holds is one value, which nobody changes


def _digest(folder: Path) -> tuple[str, int]:
    """Digest and size of the files of a model that R has handed over; nothing where there is more, or less."""
    from scrae.model.stored import ModelFolderError, opened

    with suppress(OSError, ModelFolderError):
        if sorted(path.name for path in folder.iterdir()) == sorted(FILES):
            content = []
            for name in FILES:
                with opened(folder / name) as file:  # regular files alone: to read a FIFO would wait for ever
                    content.append(file.read())
            lengths = [len(part) for part in content]
            return hashlib.sha256(repr(lengths).encode() + b"".join(content)).hexdigest(), sum(lengths)
    return "", 0


KEPT = KeptModels()
