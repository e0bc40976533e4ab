"""Tables some of whose columns have new names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pandas as pd

from scrae._deprecation import warn_of_old_name


class RenamedColumns(pd.DataFrame):
    """A table some of whose columns had other names, by which they can still be asked for.

    What is made of it is a plain DataFrame.
    """

    _metadata: ClassVar[list[str]] = ["_new_names"]

    @classmethod
    def of(cls, table: pd.DataFrame, new_names: Mapping[str, str]) -> RenamedColumns:
        """The table itself, and the new name of each old one."""
        result = cls(table)
        object.__setattr__(result, "_new_names", dict(new_names))
        return result

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def __getitem__(self, key: Any) -> Any:
        new = getattr(self, "_new_names", {}).get(key) if isinstance(key, str) else None
        if new is not None and key not in self.columns:
            warn_of_old_name(f"column {key!r}", repr(new))
            key = new
        return super().__getitem__(key)
