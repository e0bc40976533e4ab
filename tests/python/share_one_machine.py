"""What each of several processes under torchrun finds when they divide their work, as JSON in the given folder."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch

from scrae._errors import CountsError
from scrae.compute import distributed
from scrae.compute.one_machine import made_once
from scrae.data.files import cells_on_disk


def unnamed_files() -> list[str]:
    """Inodes of the unnamed temporary files that this process maps."""
    mapped = (line.split() for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith("(deleted)"))
    return sorted({inode for *_, inode, path, _ in mapped if Path(path).parent == Path(tempfile.gettempdir())})


def nowhere(_: str) -> NoReturn:
    raise FileNotFoundError("nowhere")


def find(h5ad: str, broken: str) -> dict[str, object]:
    found: dict[str, object] = {"rank": distributed.rank()}
    with distributed.divided_work():
        first = cells_on_disk(h5ad)
        found |= {"files": unnamed_files(), "sum": float(first.X.sum()), "shape": first.shape}
        try:
            cells_on_disk(broken)
        except CountsError as error:
            found |= {"error": str(error), "code": error.code}
        found["made"] = made_once(lambda: distributed.rank(), str, int)
        found["made_where_it_cannot_be_found"] = made_once(lambda: distributed.rank(), str, nowhere)
        share = distributed.own_share(5)
        found["share"] = [share.start, share.stop]
        rows = torch.arange(5.0)[:, None].expand(5, 2)
        found["together"] = distributed.put_together(rows[share], share, 5).tolist()
        found["too_few"] = [distributed.own_share(3).start, distributed.own_share(3).stop]
    alone = cells_on_disk(h5ad)
    found["files_of_its_own"] = [name for name in unnamed_files() if name not in found["files"]]
    distributed.any_of(False)  # files that are gone would leave their inodes to others
    found["equal"] = bool(np.array_equal(alone.X.toarray(), first.X.toarray()))
    return found


if __name__ == "__main__":
    h5ad, broken, folder = sys.argv[1:]
    with distributed.joined():
        found = find(h5ad, broken)
        Path(folder, f"{distributed.rank()}.json").write_text(json.dumps(found))
