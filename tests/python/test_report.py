"""The report of a run: one page that holds everything, says what is missing, and takes no name for markup."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from PIL import Image
from scipy.stats import ttest_ind

import scrae
from scrae.cli import main
from scrae.pl.html import table, tag
from scrae.pl.report_findings import findings, stop_in_words
from scrae.pl.report_run import run_of
from scrae.r.answers import plain
from scrae.r.job import Job
from scrae.r.report import AXES, write_report
from scrae.tl.calls import call_text
from scrae.tl.profiles import Profiles
from scrae.tl.quality import Quality

EVIL = "<script>alert('x')</script><img src=x onerror=alert(1)> & \"$y$\""
TAGS = """html head meta title style body header main nav section h1 h2 p a code pre ul li div table thead tbody tr th
td span figure figcaption img"""
WHOLE = {"key": "scrae", "clusters_key": None, "batch_key": None, "labels_key": None, "outliers_key": None}
WHOLE |= {"layer": None, "basis": "X_axes", "random_state": 0}


class Page(HTMLParser):
    """What a page is made of: its tags, its text by section, its pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.pictures: list[Image.Image] = []
        self.sections: dict[str, str] = {"": ""}
        self._in, self._styling = "", False
        self.feed(text)
        self.close()

    def handle_starttag(self, name, attributes):
        self.tags.add(name)
        self.attributes += attributes
        given = dict(attributes)
        self._styling = name == "style"
        if name == "h2":
            self._in = given["id"]
            self.sections[self._in] = ""
        if name == "img":
            assert given["alt"]
            kind, content = given["src"].split(",")
            assert kind == "data:image/png;base64"
            self.pictures.append(Image.open(io.BytesIO(base64.b64decode(content))))

    def handle_data(self, data):
        if not self._styling:
            self.sections[self._in] += data

    @property
    def text(self):
        return " ".join(self.sections.values())


def page(path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def _trained():
    """Cells of three types in two batches, with an embedding, clusters, labels, outlier scores and places to draw."""
    rng = np.random.default_rng(0)
    types, batch = np.repeat([0, 1, 2], 40), np.tile([0, 1], 60)
    means = np.full((120, 50), 1.0)
    for i in range(3):
        means[types == i, 8 * i : 8 * i + 8] = 8.0
    counts = rng.poisson(means).astype(np.float32)
    counts[:, 49] = 0
    adata = anndata.AnnData(
        sp.csr_matrix(counts),
        obs=pd.DataFrame(
            {"type": np.array(["T", "B", "NK"])[types], "donor": np.array(["x", "y"])[batch]},
            index=[f"cell{i}" for i in range(120)],
        ),
        var=pd.DataFrame(index=[f"gene{i}" for i in range(50)]),
    )
    scrae.tl.scrae(
        adata, genes="all", batch_key="donor", n_latent=3, n_hidden=(16,), batch_size=16, max_epochs=6, verbose=False,
        random_state=4,
    )  # fmt: skip
    scrae.tl.cluster(adata, level=3)
    adata.obs["scrae_outlier"] = np.r_[np.full(3, 9.5), rng.normal(size=117)]
    adata.obsm["X_axes"] = rng.normal(size=(120, 2))
    return adata


@pytest.fixture
def trained(_trained):
    return _trained.copy()


def test_the_page_holds_everything_and_needs_nothing(trained, tmp_path):
    path = scrae.pl.report(trained, tmp_path / "run.html", labels_key="type", basis="X_axes")
    assert path == tmp_path / "run.html"
    made = page(path)
    assert list(made.sections)[1:] == [
        "notes", "run", "quality", "training", "map", "clusters", "markers", "batches", "outliers", "code",
    ]  # fmt: skip
    assert made.tags <= set(TAGS.split())
    links = [value for name, value in made.attributes if name in ("href", "src")]
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)
    assert {link[1:] for link in links if link.startswith("#")} == set(made.sections) - {""}
    assert re.findall(r"https?:|@import|url\(", path.read_text()) == []
    # quality, curves, three maps, tree, dots, batches, outliers: none of them blank
    assert len(made.pictures) == 9
    assert all(np.asarray(picture.convert("L")).std() > 3 for picture in made.pictures)
    for section, said in {
        "run": ("120, all in training", "seed4", "donor", "n_latent = 3", "torch 2"),
        "quality": ("No cell was dropped", "All 50 genes were modelled", "1 gene has no count"),
        "training": (stop_in_words(run_of(trained, **WHOLE)),),
        "clusters": ("type, most frequent", "(100%)"),
        "batches": ("mixing within groups",),
        "outliers": ("3 of 120 cells (2.5%)", "9.5"),
    }.items():
        for text in said:
            assert text in made.sections[section], text
    assert "missing" not in {value for name, value in made.attributes if name == "class"}


def test_sizes_stability_and_confidence_are_those_of_the_object(trained, tmp_path):
    scrae.pl.report(trained, tmp_path / "run.html", basis="X_axes")
    rows = re.findall(r"<tr>(.*?)</tr>", (tmp_path / "run.html").read_text().split('id="clusters"')[1])
    shown = [re.sub("<.*?>", "|", row) for row in rows[1:4]]
    known = trained.uns["scrae_clusters"]["clusters"]
    for (name, row), text in zip(known.iterrows(), shown, strict=True):
        confidence = trained.obs["scrae_cluster_confidence"][trained.obs["scrae_clusters"] == name].median()
        figures = [part for part in text.split("|") if part]
        expected = [
            name,
            str(row["n_cells"]),
            f"{row['n_cells'] / 120:.1%}",
            f"{row['stability']:.2f}",
            f"{confidence:.2f}",
        ]
        assert figures[:5] == expected
        assert figures[-1] == row["genes"]


def test_what_is_missing_is_said_with_the_call_that_adds_it(trained, tmp_path):
    del trained.obs["scrae_clusters"], trained.obs["scrae_outlier"], trained.uns["scrae_clusters"]
    trained.uns["scrae"]["params"]["batch_key"] = "None"
    scrae.pl.report(trained, tmp_path / "run.html", basis="X_axes")
    made = page(tmp_path / "run.html")
    for section, call in {
        "map": "scrae.tl.cluster(adata)",
        "clusters": "scrae.tl.cluster(adata)",
        "markers": "scrae.tl.cluster(adata)",
        "batches": 'scrae.pl.report(adata, "run.html", batch_key="donor")',
        "outliers": 'scrae.tl.outliers(adata, model, key_added="scrae_outlier")',
    }.items():
        assert call in made.sections[section]
    assert 'labels_key="cell_type"' in made.sections["map"]


def test_counts_that_are_gone_and_a_batch_column_that_is_gone_are_told(trained, tmp_path):
    trained.X = trained.X.astype(np.float64) * 0.37
    del trained.obs["donor"]
    scrae.pl.report(trained, tmp_path / "run.html", basis="X_axes")
    made = page(tmp_path / "run.html")
    assert "The raw counts that the training had are no longer there" in made.sections["quality"]
    assert "told of batches in the column 'donor', which the object does not have any more" in made.sections["notes"]
    assert "donor" in made.sections["run"]


def test_clusters_of_another_embedding_or_of_other_cells_are_told(trained, tmp_path):
    part = trained[:90].copy()
    assert any("found on other cells" in text for text in findings(run_of(part, **WHOLE)))
    assert any("The training saw 120 cells, and the object has 90" in text for text in findings(run_of(part, **WHOLE)))
    assert not any("replaced" in text for text in findings(run_of(trained, **WHOLE)))
    scrae.tl.scrae(trained, genes="all", n_latent=3, n_hidden=8, batch_size=16, max_epochs=1, verbose=False)
    assert any("an embedding that was replaced since" in text for text in findings(run_of(trained, **WHOLE)))
    trained.obs["mine"] = ["a", "b"] * 60
    scrae.pl.report(trained, tmp_path / "run.html", clusters_key="mine", basis="X_axes")
    made = page(tmp_path / "run.html")
    assert "no tree and no stability" in made.sections["clusters"]
    assert "not known" in made.sections["clusters"]


def test_a_few_cells_with_one_cluster_are_reported_on(trained, tmp_path):
    few = trained[:12].copy()
    few.obs["scrae_clusters"] = pd.Categorical(["0"] * 12)
    del few.uns["scrae_clusters"]
    scrae.pl.report(few, tmp_path / "run.html")
    made = page(tmp_path / "run.html")
    assert "There is one cluster" in made.sections["markers"]
    assert "could not be compared: 12 cells are too few" in made.sections["batches"]


def test_names_are_text_and_no_markup_wherever_they_come_from(trained, tmp_path):
    trained.var_names = [EVIL, *trained.var_names[1:]]
    trained.obs_names = [EVIL, *trained.obs_names[1:]]
    trained.obs["donor"] = trained.obs["donor"].replace("x", EVIL)
    trained.obs[EVIL] = trained.obs["type"].replace("T", EVIL)
    trained.obs["scrae_clusters"] = trained.obs["scrae_clusters"].cat.rename_categories({"0": EVIL})
    table = trained.uns["scrae_clusters"]["clusters"]
    trained.uns["scrae_clusters"]["clusters"] = table.rename(index={"0": EVIL}).assign(genes=EVIL)
    trained.uns["scrae"]["warnings"] = np.array([EVIL], dtype=object)
    trained.uns["scrae"]["call"] = EVIL
    trained.uns["scrae"]["params"]["layer"] = "X"
    scrae.pl.report(trained, tmp_path / "run.html", labels_key=EVIL, basis="X_axes", title=EVIL)
    made = page(tmp_path / "run.html")
    assert made.tags <= set(TAGS.split())
    assert not [name for name, _ in made.attributes if name.startswith("on")]
    for section in ("", "notes", "map", "quality", "clusters", "markers", "outliers", "code"):
        assert EVIL in made.sections[section] or section == "map", section
    assert "Content-Security-Policy" in [value for _, value in made.attributes]


def test_text_is_escaped_once_and_markup_stays():
    assert tag("p", "a < b & c", tag("b", '"d"'), class_="x") == '<p class="x">a &lt; b &amp; c<b>&quot;d&quot;</b></p>'
    assert tag("a", "x", href='"><script>') == '<a href="&quot;&gt;&lt;script&gt;">x</a>'
    assert "<td>&lt;i&gt;</td>" in table(("h",), [("<i>",)])


@pytest.mark.slow
def test_a_umap_is_made_where_there_is_none_and_nothing_is_written_to_the_object(trained, tmp_path):
    before = trained.copy()
    scrae.pl.report(trained, tmp_path / "run.html", labels_key="type")
    made = page(tmp_path / "run.html")
    assert "computed from the embedding for this report" in made.sections["map"]
    assert "sc.tl.umap(adata)" in made.sections["code"]
    pd.testing.assert_frame_equal(trained.obs, before.obs)
    assert set(trained.uns) == set(before.uns)
    assert set(trained.obsm) == set(before.obsm)
    assert (trained.X != before.X).nnz == 0


def test_the_lines_of_code_give_the_same_embedding_and_clusters(trained, tmp_path, monkeypatch):
    trained.write_h5ad(tmp_path / "cells.h5ad")
    scrae.pl.report(trained, tmp_path / "run.html", basis="X_axes")
    code = page(tmp_path / "run.html").sections["code"].partition("import anndata")
    monkeypatch.chdir(tmp_path)
    for lines in (
        code[1] + code[2],
        "\n".join(written_without_calls(trained)),
    ):
        space: dict[str, object] = {}
        exec(lines.replace("scrae.tl.scrae(", "scrae.tl.scrae(verbose=False, adata=", 1), space)
        again = space["adata"]
        np.testing.assert_array_equal(again.obsm["X_scrae"], trained.obsm["X_scrae"])
        assert list(again.obs["scrae_clusters"]) == list(trained.obs["scrae_clusters"])


def written_without_calls(adata):
    """The lines for an object of a version that kept no calls."""
    from scrae.pl.report_code import lines_of_code

    older = adata.copy()
    del older.uns["scrae"]["call"], older.uns["scrae_clusters"]["call"]
    lines = list(lines_of_code(run_of(older, **WHOLE)))
    assert any("does not hold the call itself" in line for line in lines)
    return lines


def test_a_file_says_the_same_as_the_object(trained, tmp_path):
    trained.write_h5ad(tmp_path / "cells.h5ad")
    assert main(["report", str(tmp_path / "cells.h5ad"), "--labels-key", "type", "--basis", "X_axes", "--quiet"]) == 0
    scrae.pl.report(trained, tmp_path / "object.html", labels_key="type", basis="X_axes")
    of_file, of_object = page(tmp_path / "cells.html"), page(tmp_path / "object.html")
    assert {k: v for k, v in of_file.sections.items() if k} == {k: v for k, v in of_object.sections.items() if k}
    assert "scRAE: cells.h5ad" in of_file.sections[""]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": "cells.h5ad"}, "has to end in .html"),
        ({"path": "nowhere/run.html"}, "there is no folder"),
        ({"key": "other"}, "no embedding 'X_other'"),
        ({"labels_key": "typ"}, "no column 'typ'; did you mean 'type'"),
        ({"batch_key": "plate"}, "no column 'plate'"),
        ({"layer": "counts"}, "no layer 'counts'"),
        ({"basis": "X_umap"}, "adata.obsm['X_umap'] is missing; there are:"),
    ],
)
def test_what_cannot_be_reported_is_refused_and_no_file_is_left(trained, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, OSError), match=re.escape(message)):
        scrae.pl.report(trained, **{"path": "run.html"} | arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("summary", "said"),
    [
        ({"stop_reason": "early_stopping", "best_epoch": 20}, "because the last 5 brought no improvement"),
        ({"stop_reason": "max_epochs", "n_validation_cells": 0}, "No cells were held out"),
        ({"stop_reason": "converged"}, "clusters that the model makes had settled"),
        ({"stop_reason": "interrupted"}, "ended by Ctrl-C after 25 epochs"),
        ({"stop_reason": "terminated"}, "SIGTERM"),
    ],
)
def test_every_way_to_stop_is_explained(trained, summary, said):
    whole = {"epochs": 25, "best_epoch": 25, "n_validation_cells": 12, "stop_reason": "max_epochs"}
    trained.uns["scrae"]["summary"] = trained.uns["scrae"]["summary"] | whole | summary
    run = run_of(trained, **WHOLE)
    assert said in stop_in_words(run)
    told = " ".join(findings(run))
    assert ("ended by" in told) == (summary["stop_reason"] in ("interrupted", "terminated"))
    trained.uns["scrae"]["summary"] |= whole
    assert any("More epochs may give" in text for text in findings(run_of(trained, **WHOLE)))


def test_warnings_of_the_training_are_kept_and_told(trained, tmp_path):
    halves = anndata.AnnData(
        trained.X * 0.5 + 0.25 * (trained.X > 0).astype(np.float32), trained.obs[["type"]], trained.var
    )
    with pytest.warns(UserWarning, match="rounded"):
        scrae.tl.scrae(
            halves, counts="round", genes="all", n_latent=3, n_hidden=8, batch_size=16, max_epochs=1, verbose=False
        )
    told = list(halves.uns["scrae"]["warnings"])
    assert len(told) == 1
    assert "rounded" in told[0]
    halves.obsm["X_axes"] = trained.obsm["X_axes"]
    halves.write_h5ad(tmp_path / "halves.h5ad")
    assert told[0] in findings(run_of(anndata.read_h5ad(tmp_path / "halves.h5ad"), **WHOLE))


def test_genes_of_clusters_are_those_that_a_t_test_ranks_first():
    rng = np.random.default_rng(2)
    expression = sp.csr_array(rng.poisson(1.5, size=(90, 20)) * rng.random((90, 20)))
    groups = np.r_[np.arange(87) % 3, [-1, -1, -1]]
    profiles = Profiles.of(expression, groups, 3)
    dense, known = expression.toarray(), groups >= 0
    for i in range(3):
        here, there = dense[groups == i], dense[known & (groups != i)]
        t = ttest_ind(here, there, equal_var=False).statistic
        np.testing.assert_allclose(profiles.against_others()[i], t * np.sqrt(29 / 28), rtol=0.01)
        np.testing.assert_allclose(profiles.mean[i], here.mean(0))
        np.testing.assert_allclose(profiles.detected[i], (here > 0).mean(0))
        best = [gene for gene in np.argsort(-t)[:4] if t[gene] > 0]
        assert list(profiles.markers(4)[i]) == best


def test_quality_counts_what_is_there(trained, monkeypatch):
    monkeypatch.setattr("scrae.data.layers.CELLS", 7)
    found = Quality.of(trained, None)
    counts = trained.X.toarray()
    np.testing.assert_array_equal(found.counts, counts.sum(1))
    np.testing.assert_array_equal(found.genes, (counts > 0).sum(1))
    np.testing.assert_array_equal(found.seen_in, (counts > 0).sum(0))
    trained.layers["logs"] = np.log1p(counts)
    assert Quality.of(trained, "logs") is None
    assert Quality.of(trained, "nowhere") is None


def test_a_call_leaves_out_what_is_usual_and_has_lines_where_it_is_long():
    usual = {"a": None, "b": 1, "names": ()}
    assert call_text("f", "x", {"a": None, "b": 1, "names": ()}, usual) == "f(x)"
    assert call_text("f", "x", {"a": 'say "hi"', "b": np.float64(0.5)}, usual) == 'f(x, a="say \\"hi\\"", b=0.5)'
    long = call_text("f", "x", {"names": tuple(f"column{i}" for i in range(12))}, usual)
    assert long.splitlines()[0] == "f("
    assert eval(long, {"f": lambda x, names: names, "x": 0}) == tuple(f"column{i}" for i in range(12))


def as_r_sends_it(table):
    """Columns of a table in the JSON of a job: what is missing is null."""
    return {
        str(name): [None if pd.isna(value) else value for value in column.tolist()] for name, column in table.items()
    }


def test_a_page_for_r_has_the_same_figures_and_no_word_of_python(trained, tmp_path):
    found, described = trained.uns["scrae_clusters"], trained.uns["scrae"]
    scrae.tl.batch_report(trained, "donor")
    batches = trained.uns["scrae_batches"]
    scrae.pl.report(trained, tmp_path / "python.html", labels_key="type", basis="X_axes")
    handed = anndata.AnnData(trained.X, trained.obs.astype({"scrae_clusters": object}), trained.var)
    handed.obsm["X_scrae"] = trained.obsm["X_scrae"].astype(np.float64)
    handed.obs[list(AXES)] = trained.obsm["X_axes"]
    arguments = {
        "path": str(tmp_path / "r.html"), "random_state": 0, "clusters": "scrae_clusters", "labels": "type",
        "batch": "donor", "outliers": "scrae_outlier", "basis": "axes", "counts_from": "assay 'counts'",
        "told": {
            "clusters": as_r_sends_it(found["clusters"].reset_index()), "tree": as_r_sends_it(found["tree"]),
            "factors": [], "replaced": False, "separation": float(found["params"]["separation"]),
        },
        "batches": {
            "measures": as_r_sends_it(batches["measures"].reset_index()),
            "groups": as_r_sends_it(batches["groups"].reset_index()),
            "findings": as_r_sends_it(batches["findings"]),
        },
        "fit": {
            "summary": plain(described["summary"]),
            "parameters": plain({name: np.asarray(value).tolist() for name, value in described["params"].items()}),
            "history": as_r_sends_it(described["history"]), "genes": list(trained.var_names), "warnings": "one <b>",
            "batch_key": "donor",
        },
        "code": {
            "object": "object", "training": "object <- RunSCRAE", "arguments": {"seed.use": "4"},
            "clustering": "object <- ClusterSCRAE", "of_clustering": {"level": "3"},
        },
    }  # fmt: skip

    def job(arguments):
        return Job("report", json.loads(json.dumps(arguments)), tmp_path, lambda: handed, lambda *_, **__: None)

    assert write_report(job(arguments)) == {}
    of_r, of_python = page(tmp_path / "r.html"), page(tmp_path / "python.html")
    for section in ("quality", "training", "map", "clusters", "markers", "batches", "outliers"):
        assert of_r.sections[section].replace("X_axes", "") == of_python.sections[section].replace("X_axes", "")
    assert [picture.size for picture in of_r.pictures] == [picture.size for picture in of_python.pictures]
    assert "one <b>" in of_r.sections["notes"]
    assert "assay 'counts'" in of_r.sections["run"]
    code = of_r.sections["code"]
    assert "object <- RunSCRAE(" in code
    assert "n.hidden = c(16)" in code
    assert "object <- ClusterSCRAE(object, level = 3)" in code
    bare = {"clusters": None, "labels": None, "batch": None, "outliers": None, "told": None, "batches": None}
    arguments["code"] |= {"clustering": None}
    arguments["fit"] |= {"batch_key": None}
    handed.obs = handed.obs[[]].copy()  # R hands over what is named alone
    write_report(job(arguments | bare))
    text = page(tmp_path / "r.html").text
    assert re.findall(r"adata|scrae\.\w+|_key", text.replace("scrae.html", "")) == []
    for call in ("ClusterSCRAE(object)", "FindOutliersSCRAE(object)", 'labels = "cell_type"', 'batch.by = "donor"'):
        assert call in text
