"""What every reconstruction likelihood offers to the model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from scrae.compute.bfloat16 import WideLinear
from scrae.data.count_rows import CountRows
from scrae.data.transforms import CountTransform


class Likelihood(nn.Module, ABC):
    """p(x | h): the last layer of the decoder and the distribution of the counts it describes.

    Subclasses set ``name`` (how settings call them) and are found by it.

    Parameters
    ----------
    n_hidden
        Width of the decoder's last hidden layer.
    n_genes
        Number of modelled genes.
    n_groups
        Number of groups of cells with a dispersion of their own (1, or the number of batches).
    """

    name: ClassVar[str]
    target: ClassVar[str] = "counts"
    """Which transform of the counts is explained, see :class:`scrae.data.transforms.CountTransform`."""
    explains_scaled: ClassVar[bool] = False
    """Whether it can explain the target "scaled", which has negative values and no zeros to skip."""

    explains_others: ClassVar[bool] = True
    """Whether it can explain other targets than its own."""
    reconstructs: ClassVar[bool] = True
    """Whether counts are explained at all."""

    registry: ClassVar[dict[str, type[Likelihood]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" in cls.__dict__:
            Likelihood.registry[cls.name] = cls

    def __init__(self, n_hidden: int, n_genes: int, n_groups: int = 1) -> None:
        super().__init__()
        self.n_genes = n_genes

    def fit(self, target: CountTransform) -> None:
        """Take from the fitted transform of the target what the way back to counts needs."""

    @abstractmethod
    def forward(self, hidden: Tensor, log_library: Tensor, group: Tensor) -> tuple[Tensor, ...]:
        """Parameters of the distribution.

        Parameters
        ----------
        hidden
            Last hidden layer of the decoder, (n_cells, n_hidden).
        log_library
            Natural log of the library size, (n_cells,).
        group
            Dispersion group of each cell, int64 (n_cells,).

        Returns
        -------
        Tensors (n_cells, n_genes), or broadcastable to it; their meaning is the subclass's own.
        """

    @abstractmethod
    def log_likelihood(self, parameters: tuple[Tensor, ...], target: CountRows) -> Tensor:
        """log p(x) summed over genes, (n_cells,)."""

    def log_prob(self, hidden: Tensor, log_library: Tensor, group: Tensor, target: CountRows) -> Tensor:
        """log p(x | h), summed over genes, (n_cells,).

        It is :meth:`log_likelihood` of what :meth:`forward` gives; a subclass may be faster in one go.
        """
        return self.log_likelihood(self(hidden, log_library, group), target)

    @abstractmethod
    def mean(self, parameters: tuple[Tensor, ...]) -> Tensor:
        """Mean on the scale of counts, without technical dropout, (n_cells, n_genes)."""

    def expected(self, parameters: tuple[Tensor, ...]) -> Tensor:
        """What :meth:`sample` draws on average, technical dropout included, (n_cells, n_genes)."""
        return self.mean(parameters)

    def dispersions(self) -> list[nn.Parameter]:
        """Parameters that only say how far counts scatter about their means."""
        return []

    @abstractmethod
    def sample(self, parameters: tuple[Tensor, ...]) -> Tensor:
        """One draw of counts per cell, (n_cells, n_genes), from torch's random state."""


class MeanOfCounts(WideLinear):
    """log mu = s + log softmax(W h): shares of the library that sum to one (Mondal et al. 2021; Lopez et al. 2018)."""

    def forward(self, hidden: Tensor, log_library: Tensor | None = None) -> Tensor:
        """(n_cells, n_genes) log means from (n_cells, n_hidden) and (n_cells,) log library sizes."""
        log_share = torch.log_softmax(super().forward(hidden), dim=1)
        return log_share if log_library is None else log_share + log_library[:, None]
