"""Plots as users of scanpy know them: colours, colour bars, genes, places, axes, files."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from matplotlib import pyplot
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import scrae
from pictures import legend_of
from scrae.pl.colours import MISSING, colours_of_groups, palette

LONG = "a name of a cell type that goes on and on, as those of ontologies do, until there is no room left for cells"


@pytest.fixture
def cells():
    """120 cells x 20 genes with places to draw them, groups, and numbers."""
    rng = np.random.default_rng(0)
    obs = pd.DataFrame(
        {
            "type": pd.Categorical([f"t{i % 3}" for i in range(120)]),
            "score": np.r_[[np.nan], rng.random(119)],
            "plate": [str(i % 24) for i in range(120)],
        },
        index=[f"cell{i}" for i in range(120)],
    )
    counts = sp.csr_matrix(rng.poisson(2.0, size=(120, 20)).astype(np.float32))
    adata = anndata.AnnData(counts, obs, pd.DataFrame(index=[f"gene{i}" for i in range(20)]))
    adata.obsm["X_umap"] = rng.normal(size=(120, 2))
    return adata


def cells_in_order(adata, panel):
    """Which cell each dot of a panel is."""
    place = {tuple(where): cell for cell, where in enumerate(adata.obsm["X_umap"])}
    return [place[tuple(where)] for where in panel.collections[-1].get_offsets()]


@pytest.mark.parametrize("n", [1, 2, 10, 11, 20, 21, 28, 29, 102, 103, 400])
def test_no_two_groups_have_one_colour(n):
    colours = palette(n)
    assert len(set(colours)) == n
    assert MISSING not in colours


@pytest.mark.filterwarnings("ignore")  # of scanpy about matplotlib
@pytest.mark.parametrize("n", [3, 15, 24, 60])
def test_groups_have_the_colours_that_scanpy_gives_them(cells, n):
    cells.obs["group"] = pd.Categorical([str(i % n) for i in range(120)])
    theirs = cells.copy()
    sc.pl.embedding(theirs, "umap", color="group", show=False)
    pyplot.close("all")
    scrae.pl.embedding(cells, "group")
    assert [to_hex(colour) for colour in theirs.uns["group_colors"]] == list(cells.uns["group_colors"])


def test_colours_that_an_object_holds_are_taken(cells):
    cells.uns["type_colors"] = ["red", "#00ff00", "blue"]
    assert list(colours_of_groups(cells, "type").values()) == ["#ff0000", "#00ff00", "#0000ff"]
    figure = scrae.pl.embedding(cells, "type")
    dots = figure.axes[0].collections[0].get_facecolor()
    assert {to_hex(colour) for colour in dots} == {"#ff0000", "#00ff00", "#0000ff"}
    cells.uns["type_colors"] = ["red"]  # too few: of other categories
    assert len(set(colours_of_groups(cells, "type").values())) == 3
    assert len(cells.uns["type_colors"]) == 3
    colours_of_groups(cells, "plate")
    assert "plate_colors" not in cells.uns  # no categories, so no order that another plot would know


def test_numbers_have_a_colour_bar_and_missing_ones_are_grey(cells):
    figure = scrae.pl.embedding(cells, "score")
    panel, bar = figure.axes
    dots = panel.collections[-1]
    assert (bar.get_ylim()[0], bar.get_ylim()[1]) == pytest.approx((cells.obs["score"].min(), cells.obs["score"].max()))
    shown = cells_in_order(cells, panel)
    np.testing.assert_allclose(dots.get_array(), cells.obs["score"].to_numpy()[shown])
    assert (np.diff(dots.get_array()) >= 0).all()  # the highest lie on top
    assert 0 not in shown
    assert to_hex(panel.collections[0].get_facecolor()[0]) == MISSING
    assert panel.get_legend() is None


def test_genes_are_coloured_by_scaled_and_logged_counts(cells, monkeypatch):
    monkeypatch.setattr("scrae.data.layers.CELLS", 50)
    theirs = cells.copy()
    sc.pp.normalize_total(theirs)
    sc.pp.log1p(theirs)
    figure = scrae.pl.embedding(cells, ["type", "gene4"], genes=["gene7"])
    drawn = {panel.get_title(): panel for panel in figure.axes if panel.get_title()}
    assert list(drawn) == ["type", "gene4", "gene7"]
    for gene in ("gene4", "gene7"):
        expected = theirs[:, gene].X.toarray().ravel()[cells_in_order(cells, drawn[gene])]
        np.testing.assert_allclose(drawn[gene].collections[-1].get_array(), expected, rtol=1e-5)
    figure = scrae.pl.embedding(theirs, genes="gene4")  # logged already
    expected = theirs[:, "gene4"].X.toarray().ravel()[cells_in_order(cells, figure.axes[0])]
    np.testing.assert_allclose(figure.axes[0].collections[-1].get_array(), expected, rtol=1e-6)
    with pytest.raises(ValueError, match="no gene 'gene40'; did you mean"):
        scrae.pl.embedding(cells, genes="gene40")


def test_without_a_column_all_cells_are_drawn_in_one_colour(cells):
    figure = scrae.pl.embedding(cells)
    (panel,) = figure.axes
    assert sorted(cells_in_order(cells, panel)) == list(range(120))
    assert len(np.unique(panel.collections[0].get_facecolor(), axis=0)) == 1
    assert (panel.get_title(), panel.get_legend()) == ("", None)


def test_the_basis_may_be_named_as_in_scanpy_and_a_missing_umap_says_how_to_get_one(cells):
    assert scrae.pl.embedding(cells, "type", "umap").axes[0].get_xlabel() == "UMAP 1"
    del cells.obsm["X_umap"]
    with pytest.raises(ValueError, match=r'sc\.pp\.neighbors\(adata, use_rep="X_scrae"\), then sc\.tl\.umap\(adata\)'):
        scrae.pl.embedding(cells, "type", "umap")


def test_names_of_groups_stand_at_the_median_of_their_cells(cells):
    (panel,) = scrae.pl.embedding(cells, "type", legend_loc="on data").axes
    assert [text.get_text() for text in panel.texts] == ["t0", "t1", "t2"]
    for i, text in enumerate(panel.texts):
        np.testing.assert_allclose(text.get_position(), np.median(cells.obsm["X_umap"][i::3], axis=0))
    assert panel.get_legend() is None
    assert scrae.pl.embedding(cells, "type", legend_loc="none").axes[0].get_legend() is None
    with pytest.raises(ValueError, match="legend_loc='left' is none of"):
        scrae.pl.embedding(cells, "type", legend_loc="left")


@pytest.mark.parametrize("n_groups", [2, 40, 110])
def test_a_legend_takes_nothing_from_the_cells_however_long_its_names(cells, n_groups):
    names = [f"{i} {LONG}" for i in range(n_groups)]
    cells.obs["long"] = pd.Categorical.from_codes(np.arange(120) % n_groups, names)
    figure = scrae.pl.embedding(cells, ["long", "type"])
    figure.savefig("/dev/null", format="png")  # warnings of the layout would be errors here
    for panel in figure.axes:
        box = panel.get_window_extent()
        assert box.width / figure.dpi > 3
        assert box.height / figure.dpi > 3
        right = panel.get_legend().get_window_extent().x1
        assert right <= figure.get_size_inches()[0] * figure.dpi + 1
    assert len(legend_of(figure.axes[0])) == n_groups
    assert max(map(len, legend_of(figure.axes[0]))) == 40


def test_names_are_no_formulas_and_none_is_left_out(cells):
    cells.obs["odd"] = pd.Categorical.from_codes(np.arange(120) % 3, ["_hidden", r"$\frac$", "CD4$+$"])
    figure = scrae.pl.embedding(cells, "odd", titles=["$x$ and $y"])
    figure.savefig("/dev/null", format="png")
    assert [name.replace("\\$", "$") for name in legend_of(figure.axes[0])] == ["_hidden", r"$\frac$", "CD4$+$"]


def test_panels_stand_in_rows_of_so_many(cells):
    figure = scrae.pl.embedding(cells, ["type", "score", "plate"], genes=["gene1", "gene2"], ncols=2)
    titled = [panel for panel in figure.axes if panel.get_title()]
    assert len(titled) == 5
    assert titled[0].get_subplotspec().get_gridspec().get_geometry() == (3, 2)
    with pytest.raises(ValueError, match="2 titles for 1 panel"):
        scrae.pl.embedding(cells, "type", titles=["a", "b"])


def test_a_panel_can_be_drawn_into_axes_of_the_user(cells):
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert scrae.pl.embedding(cells, "type", ax=right) is figure
    assert (len(left.collections), right.get_title()) == (0, "type")
    with pytest.raises(ValueError, match="ax takes one panel, and 2 are asked for"):
        scrae.pl.embedding(cells, ["type", "score"], ax=left)


def test_every_plot_is_shown_saved_and_returned_as_asked(cells, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(pyplot, "show", lambda: shown.append(pyplot.gcf()))
    scrae.pp.select_genes(cells, "hvg", n_top=10)
    scrae.tl.scrae(cells, n_latent=3, n_hidden=8, batch_size=16, max_epochs=2, genes="all", verbose=False)
    scrae.tl.cluster(cells, level=2)
    cells.obs["donor"] = ["a", "b"] * 60
    scrae.tl.batch_report(cells, "donor")
    for plot in (scrae.pl.embedding, scrae.pl.clusters, scrae.pl.batches, scrae.pl.gene_selection, scrae.pl.history):
        file = tmp_path / f"{plot.__name__}.png"
        assert isinstance(plot(cells, save=file), Figure)
        assert file.stat().st_size > 1000
        assert plot(cells, show=True) is None
        assert isinstance(plot(cells, show=True, return_fig=True), Figure)
        assert plot(cells, return_fig=False) is None
    assert len(shown) == 10
    pyplot.close("all")


def test_the_picture_of_clusters_has_the_colours_of_the_object(cells):
    scrae.tl.scrae(cells, n_latent=3, n_hidden=8, batch_size=16, max_epochs=2, genes="all", verbose=False)
    scrae.tl.cluster(cells, level=2)
    cells.uns["scrae_clusters_colors"] = ["#123456", "#abcdef"]
    drawn, _, stability = scrae.pl.clusters(cells, basis="umap").axes
    assert {to_hex(colour) for colour in drawn.collections[0].get_facecolor()} == {"#123456", "#abcdef"}
    assert [to_hex(bar.get_facecolor()) for bar in stability.patches] == ["#123456", "#abcdef"]
