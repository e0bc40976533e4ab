"""Names of an earlier version work for one version more, and say what they are called now."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import scrae
from scrae._renamed_columns import RenamedColumns
from scrae.data.files import cells_on_disk, map_cells


@pytest.fixture(scope="module")
def model():
    adata = scrae.datasets.pbmc()
    return scrae.SCRAE(max_epochs=2, n_hidden=(16,), verbose=False).fit(adata).fit_labels(adata, "cell_type")


def test_surprise_is_the_negative_log_likelihood(model, pbmc):
    with pytest.warns(DeprecationWarning, match=r"SCRAE.surprise is now called SCRAE.negative_log_likelihood"):
        old = model.surprise(pbmc)
    np.testing.assert_array_equal(old, model.negative_log_likelihood(pbmc))


def test_familiarity_is_a_conformal_p_value(model, pbmc):
    table = model.predict(pbmc, return_probabilities=True)
    assert list(table.columns) == [*model.cell_types, "conformal_p_value"]
    with pytest.warns(DeprecationWarning, match="column 'familiarity' is now called 'conformal_p_value'"):
        old = table["familiarity"]
    pd.testing.assert_series_equal(old, table["conformal_p_value"])
    with pytest.raises(KeyError, match="nonsense"):
        table["nonsense"]


def test_outliers_are_judged_by_the_negative_log_likelihood(model, pbmc):
    table = scrae.tl.outliers(pbmc, model)
    assert list(table.columns) == ["negative_log_likelihood", "expected", "score"]
    with pytest.warns(DeprecationWarning, match="column 'surprise' is now called 'negative_log_likelihood'"):
        old = table["surprise"]
    pd.testing.assert_series_equal(old, table["negative_log_likelihood"])


def test_cells_are_mapped_by_a_model_and_left_on_disk_by_a_file(pbmc, tmp_path):
    pbmc.write_h5ad(tmp_path / "in.h5ad")
    with pytest.warns(DeprecationWarning, match=r"map_cells is now called cells_on_disk"):
        old = map_cells(tmp_path / "in.h5ad")
    np.testing.assert_array_equal(old.X.toarray(), cells_on_disk(tmp_path / "in.h5ad").X.toarray())


def test_what_is_made_of_a_table_with_old_names_is_a_plain_table():
    table = RenamedColumns.of(pd.DataFrame({"new": [1.0, 2.0], "other": [3, 4]}), {"old": "new"})
    assert type(table[["new"]]) is pd.DataFrame
    assert type(table.copy()) is pd.DataFrame
    assert type(table.iloc[:1]) is pd.DataFrame
    assert table.mean().to_dict() == {"new": 1.5, "other": 3.5}
    with pytest.warns(DeprecationWarning, match="column 'old' is now called 'new'"):
        assert table["old"].tolist() == [1.0, 2.0]


def test_a_column_that_has_the_old_name_is_that_column():
    table = RenamedColumns.of(pd.DataFrame({"new": [1.0], "old": [2.0]}), {"old": "new"})
    assert table["old"].tolist() == [2.0]
