"""The training loop: a table of phases worked through once per minibatch.

It knows no model, likelihood or regulariser by name. What it owns is order and safety: the random state, the
position, the best weights, stopping, interrupts, losses that stop being numbers.
"""

from __future__ import annotations

import copy
import json
import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from types import FrameType
from typing import Any, NoReturn

import torch
from torch import Tensor

from scrae._errors import Coded, TrainingNotice
from scrae.autoencoder.autoencoder import RegularisedAutoencoder
from scrae.compute import distributed
from scrae.compute.bfloat16 import rounded_products, useful_threads
from scrae.compute.memory import keep_freed_memory
from scrae.compute.progress import progress_bar
from scrae.compute.rows import working_on
from scrae.compute.threads import at_most
from scrae.data.minibatches import EVALUATION_CELLS, CountData, Minibatch
from scrae.regularisers.phases import Phase
from scrae.training.adam import Adam
from scrae.training.means import Means
from scrae.training.recordings import Recordings

SNAPSHOT_STEPS = 100  # at most, between good states kept in memory; a copy every step would cost a fifth of it
STOPPED_BY = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
RETRIES = 3  # halvings of the learning rates before training that diverges is given up


class TrainingDiverged(Coded, RuntimeError):
    """The losses were not finite again and again, and training was given up. The best model so far is kept.

    Training goes back to the last good state with half the learning rates three times before it raises this error.

    Examples
    --------
    >>> import scrae
    >>> adata = scrae.datasets.pbmc()
    >>> try:
    ...     model = scrae.SCRAE(max_epochs=3, verbose=False).fit(adata)
    ... except scrae.TrainingDiverged as error:
    ...     print(error)
    """


@dataclass
class Progress:
    """Where training stands; everything here is plain and goes into a checkpoint as JSON."""

    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    best_validation: float = math.inf
    learning_rate_factor: float = 1.0
    retries: int = 0
    stop_reason: str | None = None
    history: list[dict[str, float]] = field(default_factory=list)


class Training:
    """Training of one model on one data set, which can be stopped, stored and taken up again.

    Parameters
    ----------
    model
        The module to train, on the device of the data.
    data
        All cells.
    training_cells, validation_cells
        Positions of the cells to train on and of those held out (may be empty), on the processor.
    patience
        Epochs without a better held-out reconstruction before stopping. None: no early stopping.
    """

    def __init__(
        self,
        model: RegularisedAutoencoder,
        data: CountData,
        training_cells: Tensor,
        validation_cells: Tensor,
        patience: int | None,
    ) -> None:
        self.model = model
        self.data = data
        self.training_cells = training_cells
        self.validation_cells = validation_cells
        self.patience = patience if len(validation_cells) else None
        self.phases = model.phases()
        self.optimisers = {
            phase.name: Adam(phase.parameters, phase.learning_rate, phase.betas, phase.eps, phase.weight_decay)
            for phase in self.phases
        }
        self.progress = Progress()
        self.best: dict[str, Tensor] = {}
        self._snapshot: dict[str, Tensor] = {}
        self._interrupted = False
        self._told_by = STOPPED_BY[signal.SIGINT]
        self._losses = Means()
        self._recorded = Recordings(self._iteration)
        keep_freed_memory()

    # -- the loop ---------------------------------------------------------------------------------------------------

    def run(
        self,
        max_epochs: int,
        show_progress: bool | None = None,
        after_epoch: Callable[[Training], None] | None = None,
    ) -> str:
        """Train up to epoch ``max_epochs`` and leave the best weights in the model.

        Parameters
        ----------
        max_epochs
            Total number of epochs, those before a resume included.
        show_progress
            True, False or None, as for :func:`scrae.compute.progress.progress_bar`.
        after_epoch
            Called at the end of each epoch, for checkpoints.

        Returns
        -------
        Why training stopped: ``"max_epochs"``, ``"early_stopping"``, ``"converged"`` (the regulariser says so),
        ``"interrupted"`` (Ctrl-C) or ``"terminated"`` (SIGTERM).
        """
        self.progress.stop_reason = None
        distributed.copy_from_first(self.model.state_dict().values())
        self._snapshot = self.state()
        taken_at = self.progress.step
        if not distributed.in_charge():
            show_progress = False
        bar = progress_bar(max_epochs, "scRAE", "epoch", show_progress, initial=self.progress.epoch)
        with bar, self._interrupts(), at_most(self._useful_threads()):
            while self.progress.epoch < max_epochs and not self._out_of_patience():
                if distributed.any_of(self.model.regulariser.start_epoch(self.progress.epoch, self._codes)):
                    self.progress.stop_reason = "converged"
                    self._snapshot = self.state()
                    break
                losses = self._epoch()
                if self._interrupted:
                    self.progress.stop_reason = self._told_by
                    break
                if losses is None:
                    self._back_to_snapshot(bar)
                    continue
                self._record(losses)
                bar.set_postfix_str(self._summary(), refresh=False)
                bar.update()
                if self.progress.step - taken_at >= min(SNAPSHOT_STEPS, max(taken_at, 1)):
                    self._snapshot, taken_at = self.state(), self.progress.step
                if after_epoch is not None:
                    after_epoch(self)
        if self.progress.stop_reason is None:
            self.progress.stop_reason = "max_epochs" if self.progress.epoch >= max_epochs else "early_stopping"
            self._snapshot = self.state()
        self._recorded.forget()
        self._take_best()
        return self.progress.stop_reason

    def _useful_threads(self) -> int:
        settings = self.model.settings
        if not settings.bfloat16:
            return torch.get_num_threads()
        work = settings.batch_size * self.data.n_genes * settings.n_hidden[0]
        return useful_threads(work, self.data.device.type)

    def _out_of_patience(self) -> bool:
        progress = self.progress
        return self.patience is not None and progress.epoch - progress.best_epoch >= self.patience

    def _epoch(self) -> dict[str, float] | None:
        """One pass over the training cells: mean of every loss, or None if one of them was not finite."""
        self._losses.restart()
        started = time.perf_counter()
        self.model.train()
        iteration = self._recorded if self._recordable() else self._iteration
        for cells in self.data.for_training(self.model.settings.batch_size, self.training_cells):
            iteration(cells, tuple(phase for phase in self.phases if phase.due(self.progress.step)))
            self.progress.step += 1
            self._interrupted = distributed.any_of(self._interrupted)
            if self._interrupted:
                break
        means = distributed.average(self._losses.so_far() | {"seconds": time.perf_counter() - started})
        return means if all(map(math.isfinite, means.values())) else None

    def _recordable(self) -> bool:
        """Whether iterations of a kind differ by nothing but numbers that are on a GPU."""
        told = bool(self.data.links) or distributed.n_processes() > 1  # pairs, and shares, are the processor's choice
        return self.data.device.type == "cuda" and self.model.regulariser.steps_alike and not told

    def _iteration(self, cells: Tensor, due: tuple[Phase, ...]) -> None:
        """Let each of these phases take its step on a minibatch of the cells with these positions."""
        minibatch = self.data.for_step(cells, self.model.settings.batch_size)
        with working_on(minibatch.rows), rounded_products(self.model.settings.bfloat16):
            for phase in due:
                self._losses.add(self._step(phase, phase.loss(minibatch)))

    def _step(self, phase: Phase, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """One step of one optimiser on the first loss; gradients of nothing else are computed."""
        objective = next(iter(losses.values()))
        gradients = distributed.average_gradients(torch.autograd.grad(objective, phase.parameters, allow_unused=True))
        if phase.clip_gradient is not None:
            limit = phase.clip_gradient
            gradients = [None if gradient is None else gradient.clamp(-limit, limit) for gradient in gradients]
        self.optimisers[phase.name].step(gradients)
        return {key: value.detach() for key, value in losses.items()}

    def _record(self, losses: dict[str, float]) -> None:
        progress = self.progress
        progress.epoch += 1
        row = {"epoch": float(progress.epoch)} | losses
        if len(self.validation_cells):
            row["validation_reconstruction"] = self._validation_reconstruction()
            if self.model.regulariser.preparing:
                progress.best_epoch = progress.epoch  # patience begins with the real objective
            elif row["validation_reconstruction"] < progress.best_validation:
                progress.best_validation = row["validation_reconstruction"]
                progress.best_epoch = progress.epoch
                self.best = _copy(self.model.state_dict())
        progress.history.append(row)

    def _codes(self) -> tuple[Tensor, Tensor]:
        """Positions and codes of the training cells, nothing hidden."""
        with torch.no_grad():
            codes = self._row_of_each(self.model.encode, self.training_cells)
        return self.training_cells.to(codes.device), codes

    def _validation_reconstruction(self) -> float:
        """-log p(x) of the held-out cells, summed over genes, mean over cells, nothing hidden."""
        self.model.eval()
        with torch.no_grad():
            return float(self._row_of_each(self.model.negative_log_likelihood, self.validation_cells).double().mean())

    def _row_of_each(self, of: Callable[[Minibatch], Tensor], cells: Tensor) -> Tensor:
        def shared(minibatch: Minibatch) -> Tensor:
            with working_on(minibatch.rows):
                return of(minibatch)

        return self.data.row_of_each(shared, EVALUATION_CELLS, cells, shared=True)

    def _summary(self) -> str:
        row = self.progress.history[-1]
        text = f"loss {row['reconstruction'] or row['autoencoder']:.4g}"  # the whole, where nothing is reconstructed
        if "validation_reconstruction" in row:
            text += f", held out {row['validation_reconstruction']:.4g}"
        return text

    def _take_best(self) -> None:
        if self.best:
            self.model.load_state_dict(self.best)

    def result(self) -> RegularisedAutoencoder:
        """A copy of the model as it would be if training ended here: the best weights so far, evaluation mode."""
        model = copy.deepcopy(self.model)
        if self.best:
            model.load_state_dict(self.best)
        return model.eval()

    # -- safety -----------------------------------------------------------------------------------------------------

    def _back_to_snapshot(self, bar: Any) -> None:
        """Undo the steps since the last good state and go on at half the learning rates."""
        reached, best = self.progress, self.best
        factor, retries, failed_epoch = reached.learning_rate_factor / 2, reached.retries + 1, reached.epoch + 1
        self.load_state(self._snapshot)
        if retries > RETRIES:
            if best:  # of held-out cells, with losses that were finite: better than the snapshot
                self.progress, self.best = reached, best
            self._give_up(failed_epoch)
        self.progress.learning_rate_factor, self.progress.retries = factor, retries
        if retries == 1:
            warnings.warn(
                TrainingNotice(
                    f"a loss stopped being finite in epoch {failed_epoch}; going on from epoch {self.progress.epoch} "
                    "with half the learning rates",
                    "going_back",
                    epoch=failed_epoch,
                    good_epoch=self.progress.epoch,
                ),
                stacklevel=2,
            )
        self._set_learning_rates()
        self._snapshot = self.state()
        bar.n = self.progress.epoch
        bar.refresh()

    def _give_up(self, failed_epoch: int) -> NoReturn:
        self.progress.stop_reason = "diverged"
        self._take_best()
        epoch = self.progress.best_epoch or self.progress.epoch
        kept = f"the best model so far (epoch {epoch}) is kept" if epoch else "there is no model to keep"
        raise TrainingDiverged(
            f"a loss stopped being finite in epoch {failed_epoch}, also after halving the learning rates {RETRIES} "
            f"times; {kept}. Try a smaller learning_rate, and look for cells with extreme counts.",
            "diverged",
            epoch=failed_epoch,
            retries=RETRIES,
            best_epoch=epoch,
        )

    def _set_learning_rates(self) -> None:
        self._recorded.forget()
        for phase in self.phases:
            self.optimisers[phase.name].learning_rate = phase.learning_rate * self.progress.learning_rate_factor

    @contextmanager
    def _interrupts(self) -> Iterator[None]:
        """Ctrl-C, and SIGTERM where it would end the program, end training after the step in hand.

        A second one of its kind has its usual effect. Signals reach the main thread only, so elsewhere nothing is
        changed.
        """
        self._interrupted = False
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        # Whoever handles SIGTERM already, as training on several processes does, goes on doing so.
        usual = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        caught = [signal.SIGINT, signal.SIGTERM] if usual else [signal.SIGINT]

        def on_signal(number: int, frame: FrameType | None) -> None:
            self._interrupted, self._told_by = True, STOPPED_BY[signal.Signals(number)]
            signal.signal(number, before[number])

        before: dict[int, Any] = {number: signal.getsignal(number) for number in caught}
        for number in caught:
            signal.signal(number, on_signal)
        try:
            yield
        finally:
            for number in caught:
                signal.signal(number, before[number])

    # -- state ------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Tensor]:
        """Everything that decides how training goes on, as a flat dict of copied tensors.

        Weights and buffers (``model.``), the best so far (``best.``), every optimiser (``optimiser.``), the random
        state, and the position and history as the bytes of a JSON text.
        """
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"best.{k}": v for k, v in self.best.items()}
        for name, optimiser in self.optimisers.items():
            tensors |= {f"optimiser.{name}.{k}": v for k, v in optimiser.state().items()}
        tensors["random_state"] = torch.get_rng_state()
        if self.data.device.type == "cuda":
            tensors["random_state_cuda"] = torch.cuda.get_rng_state(self.data.device)
        tensors["progress"] = torch.frombuffer(bytearray(json.dumps(asdict(self.progress)).encode()), dtype=torch.uint8)
        return _copy(tensors)

    def good_state(self) -> dict[str, Tensor]:
        """The state at the end of the last epoch that a resume can start from."""
        return self._snapshot

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Take up training where :meth:`state` was taken."""
        self.progress = Progress(**json.loads(bytes(tensors["progress"].tolist())))
        self.model.load_state_dict(below("model.", tensors))
        self.best = _copy(below("best.", tensors))
        for name, optimiser in self.optimisers.items():
            optimiser.load_state(below(f"optimiser.{name}.", tensors))
        torch.set_rng_state(tensors["random_state"].cpu())
        if self.data.device.type == "cuda" and "random_state_cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random_state_cuda"].cpu(), self.data.device)
        self._set_learning_rates()


def below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names begin with ``prefix``, by the rest of their names."""
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _copy(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in tensors.items()}
