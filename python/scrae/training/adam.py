"""Adam (Kingma & Ba 2015), by torch's fused kernel, without ``torch.optim.Adam`` around it.

To make one of those loads torch's compiler, which takes longer than some trainings, and its bookkeeping costs a tenth
of a step of a small network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim.adam import adam


class Adam:
    """Moves parameters along gradients that it is given.

    Parameters
    ----------
    parameters
        What it moves, in single or double precision.
    learning_rate
        May be set at any time.
    betas
        Memory of the running means of gradients and of their squares, each in [0, 1).
    eps
        Added to the square root of the mean square.
    weight_decay
        This times the parameter is added to its gradient.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        learning_rate: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self.parameters = list(parameters)
        self.learning_rate = learning_rate
        self.betas = betas
        self.eps = eps
        self.weight_decay = weight_decay
        self._moments: dict[int, dict[str, Tensor]] = {}

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor | None]) -> None:
        """One step, by a gradient for each parameter; what has none stays where it is."""
        moved = [index for index, gradient in enumerate(gradients) if gradient is not None]
        for index in moved:
            if index not in self._moments:
                self._moments[index] = self._new_moments(self.parameters[index])
        moments = [self._moments[index] for index in moved]
        adam(
            [self.parameters[index] for index in moved],
            # The kernel reads gradients in the order of memory, whatever their strides are.
            [gradient.contiguous() for gradient in gradients if gradient is not None],
            [of["exp_avg"] for of in moments],
            [of["exp_avg_sq"] for of in moments],
            [],
            [of["step"] for of in moments],
            fused=True,
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=self.learning_rate,
            weight_decay=self.weight_decay,
            eps=self.eps,
            maximize=False,
        )

    @staticmethod
    def _new_moments(parameter: Tensor) -> dict[str, Tensor]:
        return {
            "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
            "exp_avg": torch.zeros_like(parameter, memory_format=torch.contiguous_format),
            "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.contiguous_format),
        }

    def state(self) -> dict[str, Tensor]:
        """Steps done and running means, as ``number of the parameter.name``; the tensors themselves."""
        return {f"{index}.{name}": value for index, of in self._moments.items() for name, value in of.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a :meth:`state`, which is copied."""
        self._moments = {}
        for key, value in state.items():
            index, name = key.split(".")
            device = self.parameters[int(index)].device
            self._moments.setdefault(int(index), {})[name] = value.to(device, copy=True)
