"""How the C library gives memory back, which decides how much of a step goes to asking for it again."""

from __future__ import annotations

import torch

LARGEST_BLOCK = 2**25 - 2**16  # bytes; a little below the 32 MB from which GNU's library takes no notice


def keep_freed_memory() -> None:
    """Have the C library keep up to 64 MB that were freed, for the next step.

    Otherwise it may give megabytes back to the system in each step, and a fifth of the step goes to asking for them
    again. GNU's keeps twice the size of the largest block (of at most 32 MB) that was ever freed, so one is; elsewhere
    this does nothing.
    """
    torch.empty(LARGEST_BLOCK, dtype=torch.uint8)
