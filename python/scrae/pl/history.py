"""Training curves."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pandas as pd

from scrae.pl.canvas import handed_over, new_figure

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.figure import Figure

TRAINING, HELD_OUT, ACCENT = (
    "#0072B2",
    "#D55E00",
    "#009E73",
)  # colours that colour-blind readers can tell apart (Okabe & Ito)


def history(
    source: AnnData | pd.DataFrame | Any,
    key: str = "scrae",
    *,
    show: bool = False,
    save: str | os.PathLike[str] | None = None,
    return_fig: bool | None = None,
) -> Figure | None:
    """Draw the training curves: reconstruction, and the critic's estimate of the distance between codes and prior.

    A model without a decoder (preset ``"contrastive_sc"``) has its contrastive loss in place of the reconstruction.

    Parameters
    ----------
    source
        AnnData after :func:`scrae.tl.scrae`, a trained :class:`scrae.SCRAE`, or its ``history``.
    key
        Entry of ``adata.uns`` that describes the training.
    show, save, return_fig
        As for :func:`scrae.pl.embedding`.

    Returns
    -------
    The figure, or None.

    Examples
    --------
    >>> import scrae
    >>> adata = scrae.datasets.pbmc()
    >>> scrae.tl.scrae(adata, max_epochs=3, verbose=False)
    >>> figure = scrae.pl.history(adata)
    """
    from matplotlib.ticker import MaxNLocator

    frame = _history(source, key)
    adversarial = "critic_gap" in frame
    figure = new_figure(9.0 if adversarial else 4.6, 3.4, show)
    panels = figure.subplots(1, 2 if adversarial else 1, squeeze=False)[0]

    decoded = bool(frame["reconstruction"].any())
    loss = frame["reconstruction" if decoded else "contrast"]
    panels[0].plot(frame.index, loss, color=TRAINING, label="training cells")
    if decoded and "validation_reconstruction" in frame:
        held_out = frame["validation_reconstruction"]
        panels[0].plot(frame.index, held_out, color=HELD_OUT, label="held-out cells")
        best = held_out.idxmin()
        panels[0].axvline(best, color="0.6", linewidth=0.8, linestyle=":", zorder=0)
        panels[0].annotate(
            f"best: {best}", (best, 0.97), xycoords=("data", "axes fraction"), ha="right", va="top", rotation=90,
            fontsize="small", color="0.4",
        )  # fmt: skip
        panels[0].legend(frameon=False)
    if decoded:
        panels[0].set(title="Reconstruction", ylabel="negative log-likelihood\n(nats per cell)")
    else:
        panels[0].set(title="Contrast", ylabel="contrastive loss\n(nats per cell)")
    if adversarial:
        panels[1].axhline(0.0, color="0.8", linewidth=0.8, zorder=0)
        panels[1].plot(frame.index, frame["critic_gap"], color=ACCENT)
        panels[1].set(title="Codes against the prior", ylabel="critic's estimate of the\nWasserstein distance")
    for panel in panels:
        panel.set_xlabel("epoch")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.spines[["top", "right"]].set_visible(False)
    return handed_over(figure, show, save, return_fig)


def _history(source: Any, key: str) -> pd.DataFrame:
    if isinstance(source, pd.DataFrame):
        frame = source
    elif hasattr(source, "uns"):
        if key not in source.uns:
            raise ValueError(f"adata.uns[{key!r}] is missing: run scrae.tl.scrae(adata) first")
        frame = source.uns[key]["history"]
    else:
        frame = source.history
    return frame.set_index("epoch") if "epoch" in frame else frame
