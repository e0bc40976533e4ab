"""Under torchrun: the process that the first one waits for is killed before it has taken what was made for it."""

from __future__ import annotations

import os
import signal

from scrae.compute import distributed
from scrae.compute.one_machine import made_once


def killed(_: str) -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


if __name__ == "__main__":
    with distributed.joined(), distributed.divided_work():
        made_once(lambda: "made", str, killed)
