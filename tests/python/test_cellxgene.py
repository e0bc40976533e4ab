"""What CELLxGENE's own check (the package cellxgene-schema, in an environment of its own) says of files with results.

python -m venv cellxgene && cellxgene/bin/pip install cellxgene-schema
SCRAE_CELLXGENE=$PWD/cellxgene/bin/python make test PYTEST_ARGS="--no-cov tests/python/test_cellxgene.py"
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from scrae.cli import main

PYTHON = os.environ.get("SCRAE_CELLXGENE", "")
COLUMNS = {
    "assay_ontology_term_id": "EFO:0009922",
    "cell_type_ontology_term_id": "CL:0000236",
    "development_stage_ontology_term_id": "unknown",
    "disease_ontology_term_id": "PATO:0000461",
    "donor_id": "donor",
    "self_reported_ethnicity_ontology_term_id": "unknown",
    "sex_ontology_term_id": "PATO:0000384",
    "suspension_type": "cell",
    "tissue_ontology_term_id": "UBERON:0000178",
    "tissue_type": "tissue",
}
GENES = """
import glob, gzip, os, cellxgene_schema
[path] = glob.glob(os.path.dirname(cellxgene_schema.__file__) + "/gencode_files/genes_homo_sapiens.csv.gz")
with gzip.open(path, "rt") as file:
    print(*(line.split(",")[0] for line, _ in zip(file, range(765))))
"""


def errors(path: Path) -> list[str]:
    """What the check does not like."""
    program = Path(PYTHON).with_name("cellxgene-schema")
    done = subprocess.run([program, "validate", path], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert "Validation complete" in said, said
    return [line for line in said.splitlines() if "ERROR:" in line]


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON, reason="no cellxgene-schema (set SCRAE_CELLXGENE to a Python that has it)")
def test_a_file_that_cellxgene_takes_is_taken_with_embedding_and_clusters(pbmc, tmp_path):
    names = subprocess.run([PYTHON, "-c", GENES], capture_output=True, text=True, check=True).stdout.split()
    obs = pd.DataFrame({name: pd.Categorical([value] * 700) for name, value in COLUMNS.items()}, index=pbmc.obs_names)
    obs["is_primary_data"] = True
    adata = anndata.AnnData(
        sp.csr_matrix(pbmc.X, dtype=np.float32),
        obs=obs,
        var=pd.DataFrame({"feature_is_filtered": np.zeros(765, bool)}, index=names),
        uns={"title": "cells", "organism_ontology_term_id": "NCBITaxon:9606"},
        obsm={"X_umap": np.asarray(pbmc.obsm["X_umap_published"], dtype=np.float64)},
    )
    adata.write_h5ad(tmp_path / "in.h5ad")
    assert errors(tmp_path / "in.h5ad") == []
    few = ["--genes", "all", "--max-epochs", "5", "--cluster"]
    assert main(["run", str(tmp_path / "in.h5ad"), "--out", str(tmp_path / "out.h5ad"), *few]) == 0
    assert errors(tmp_path / "out.h5ad") == []
