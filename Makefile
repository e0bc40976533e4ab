# `make demo` and `make test` are all that is needed: both make the environment first.
MAKEFLAGS += --no-print-directory
python := .venv/bin/python
PYTEST_ARGS ?=
PYTEST_PROCESSES ?= 2
DATA ?= ../shared/data
PRIORS := default default:regulariser=fixed_prior default:regulariser=none

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-quick lint format bench-speed bench-profile bench-scaling bench-accuracy bench-ablation bench-genes bench-genes-accuracy
.PHONY: bench-family bench-family-further bench-family-maps bench-presets bench-prior bench-vae-report bench-labels bench-constraints bench-batch bench-conditions bench-query bench-denoise bench-synthetic bench-differential bench-outliers
.PHONY: attack bench-clusters bench-length bench-gpu bench-waiting bench-many-cells bench-cluster-peers bench-validation peers lock clean
.PHONY: setup-r installed-r test-r check test-r45 test-install bench-r
.PHONY: document docs docs-check figures metadata release test-oldest test-latest test-newest

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## make .venv, or bring it up to date
	@scripts/setup.sh

setup-r: ## R and its packages (with apt-get where that is possible), then as `make setup`
	@scripts/setup-r.sh
	@scripts/setup.sh

demo: setup ## train on real PBMC counts, write and draw the embedding in demo/
	@$(python) demo/run.py

# Every check runs and prints what it is, whatever the ones before said; pytest comes last, so that its summary does too.
# It runs beside the R tests, from the start, in processes of its own for whole files of tests (PYTEST_PROCESSES=0: in one), and
# what it prints is shown when they are done.
# One thread in each process: two OpenMP threads on a busy machine with two cores are many times slower.
test: export OMP_NUM_THREADS = 1
test: export OPENBLAS_NUM_THREADS = 1
test: export MKL_NUM_THREADS = 1
test: export NUMBA_NUM_THREADS = 1
test: export MPLBACKEND = Agg
test: setup-r ## lint, types, R tests, then Python tests with coverage (PYTEST_ARGS="--no-cov -k name" for some)
	@failed=; printed=$$(mktemp); \
	$(python) -m pytest -n $(PYTEST_PROCESSES) --dist loadfile --cov=scrae $(PYTEST_ARGS) >"$$printed" 2>&1 & pytest=$$!; \
	trap 'kill $$pytest 2>/dev/null; rm -f "$$printed"' EXIT; trap 'exit 130' INT; trap 'exit 143' TERM; \
	echo "== ruff check (lint)"; $(python) -m ruff check . || failed="$$failed ruff-check"; \
	echo "== ruff format --check (layout)"; $(python) -m ruff format --check . || failed="$$failed ruff-format"; \
	echo "== mypy (types)"; $(python) -m mypy || failed="$$failed mypy"; \
	if [ -n "$$failed" ]; then echo "== FAILED so far:$$failed (this run will fail)"; fi; \
	echo "== testthat (tests of the R package)"; scripts/test-r.sh || failed="$$failed testthat"; \
	echo "== pytest (tests and coverage)"; tail -n +1 -f --pid=$$pytest "$$printed"; wait $$pytest || failed="$$failed pytest"; \
	if [ -n "$$failed" ]; then echo "make test: FAILED:$$failed" >&2; exit 1; fi

test-quick: export OMP_NUM_THREADS = 1
test-quick: export OPENBLAS_NUM_THREADS = 1
test-quick: export MKL_NUM_THREADS = 1
test-quick: export NUMBA_NUM_THREADS = 1
test-quick: export MPLBACKEND = Agg
test-quick: setup ## the Python tests that have no mark `slow`: less than three minutes (PYTEST_ARGS as above)
	@$(python) -m pytest -n $(PYTEST_PROCESSES) --dist loadfile -m "not slow" $(PYTEST_ARGS)

test-r: export OMP_NUM_THREADS = 1
test-r: setup-r ## only the R tests (FILTER=seurat for those of one file)
	@scripts/test-r.sh $(FILTER)

test-r45: ## only the R tests of test-newest (FILTER as above)
	@scripts/test-newest.sh r $(FILTER)

check: setup-r ## R CMD build, R CMD check --as-cran and BiocCheck of rpkg, vignettes included
	@scripts/check-r.sh

lint: setup ## only lint, layout and types
	@echo "== ruff check (lint)"; $(python) -m ruff check .
	@echo "== ruff format --check (layout)"; $(python) -m ruff format --check .
	@echo "== mypy (types)"; $(python) -m mypy

format: setup ## lay out the code and sort imports
	@$(python) -m ruff check --fix . ; $(python) -m ruff format .

installed-r: setup-r
	@mkdir -p .Rlib && R CMD INSTALL --no-docs --library=.Rlib rpkg >/dev/null 2>&1

bench-speed: setup-r installed-r ## every goal of speed and scale as a row, beside scvi-tools after `make peers`; BEFORE=Python with an earlier scRAE: beside it, too (DATA=folder of h5ad)
	@R_LIBS=$(CURDIR)/.Rlib RETICULATE_PYTHON=$(abspath $(python)) $(python) benchmarks/goals.py --data $(DATA) \
	--markdown benchmarks/results/goals.md $(if $(wildcard .venv-peers/.ready),--peer .venv-peers/bin/python) \
	$(if $(BEFORE),--before $(BEFORE))

bench-profile: setup ## what each part of a training step takes, beside its bare matrix products (DATA=folder of h5ad)
	@OMP_NUM_THREADS=1 $(python) benchmarks/profile_step.py --data $(DATA)

bench-scaling: setup ## what each part takes by cells, genes and entries: table, exponents and figure (DATA=folder of h5ad)
	@$(python) benchmarks/scaling.py --data $(DATA) --markdown benchmarks/results/scaling.md --figure benchmarks/results/scaling.png

bench-accuracy: setup ## clustering scores against scaled PCA: table, ranking and figure (DATA=folder of h5ad)
	@$(python) benchmarks/accuracy.py --data $(DATA) \
	$(if $(wildcard .venv-peers/.ready),--peer .venv-peers/bin/python --methods default pca10 pca30 scvi) >/dev/null
	@$(python) benchmarks/report.py --markdown benchmarks/results/accuracy.md --figure benchmarks/results/accuracy.png \
	--methods default pca10 pca30 $(if $(wildcard .venv-peers/.ready),scvi)

bench-clusters: setup ## clusters as users get them, against labels, noise and rare types; resumable (DATA=folder of h5ad)
	@$(python) benchmarks/clusters.py --data $(DATA) --controls benchmarks/results/clusters_controls.csv \
	--markdown benchmarks/results/clusters.md >/dev/null

bench-length: setup ## what shorter trainings cost; resumable (DATA=folder of h5ad)
	@$(python) benchmarks/length.py --data $(DATA) --markdown benchmarks/results/length.md >/dev/null
	@folder=$$(mktemp -d); trap "rm -r $$folder" EXIT; set -e; \
	$(python) benchmarks/semisynthetic.py --data $(DATA) --cells 30000 --out $$folder/blood_30000.h5ad; \
	$(python) benchmarks/length.py --data $$folder --steps 1000 400 --seeds 2 \
	--out benchmarks/results/length_of_many.csv --markdown benchmarks/results/length_of_many.md >/dev/null

bench-gpu: setup ## training and a million cells on a GPU, on a machine that has one; resumable (DATA=folder of h5ad)
	@$(python) benchmarks/accuracy.py --data $(DATA) --seeds 3 --methods default --out benchmarks/results/gpu_accuracy.csv >/dev/null
	@folder=$$(mktemp -d); trap "rm -r $$folder" EXIT; set -e; \
	$(python) benchmarks/semisynthetic.py --data $(DATA) --cells 100000 --out $$folder/blood_100000.h5ad; \
	$(python) benchmarks/accuracy.py --data $$folder --seeds 3 --methods default default:batch_size=1024 \
	--out benchmarks/results/minibatches.csv --markdown benchmarks/results/minibatches.md >/dev/null
	@$(python) benchmarks/gpu.py --data $(DATA) $(if $(PEER),$(PEER)) --accuracy benchmarks/results/gpu_accuracy.csv \
	--markdown benchmarks/results/gpu.md >/dev/null

bench-waiting: setup ## seconds from counts to clusters and a map, beside scanpy's route by PCA; resumable (DATA=folder of h5ad)
	@$(python) benchmarks/waiting.py --data $(DATA) --threads 2 --markdown benchmarks/results/waiting.md >/dev/null

bench-many-cells: setup ## neighbours, graph and clusters of 100,000 to a million cells; resumable (DATA=folder of h5ad)
	@$(python) benchmarks/many_cells.py --data $(DATA) --markdown benchmarks/results/many_cells.md >/dev/null

# Those that are there: scanpy, scranpy after `make peers`, Seurat, and the others of R where their folder is named.
CLUSTER_PEERS := $(if $(wildcard .venv-peers/lib/*/site-packages/scranpy),--peer .venv-peers/bin/python --methods scranpy,--methods)

bench-cluster-peers: setup-r ## clusters by Seurat and scanpy; after `make peers` by scranpy, SCVI, LDVAE, JointEmbeddingSCVI, CONCORD and SCALEX; RLIB=folder with R's scran, SC3, scSHC, CHOIR: by these, too (DATA=folder of h5ad)
	@$(if $(PEER),$(python) benchmarks/accuracy.py --data $(DATA) --seeds 1 $(PEER) scvi ldvae $(JOINT) $(if $(LATER_PEERS),concord_alone) $(SCALEX) >/dev/null)
	@$(if $(RLIB),R_LIBS=$(RLIB)) $(python) benchmarks/cluster_peers.py --data $(DATA) \
	--markdown benchmarks/results/cluster_peers.md $(CLUSTER_PEERS) scanpy scanpy_pearson seurat seurat30 sctransform $(if $(RLIB),scran sc3 scshc choir) >/dev/null

bench-ablation: setup ## the same with no prior, a fixed and the learned one; resumable (DATA=folder of h5ad)
	@$(python) benchmarks/accuracy.py --data $(DATA) --methods $(PRIORS) >/dev/null
	@$(python) benchmarks/report.py --methods $(PRIORS) --markdown benchmarks/results/ablation.md

bench-genes: setup ## time and memory of the choice of genes; RLIB=folder with M3Drop and SCMarker: beside them (DATA=folder of h5ad)
	@$(python) benchmarks/genes.py --data $(DATA) $(if $(RLIB),--r $(RLIB))

# The studies of the paper import what the programs above them share.
study := PYTHONPATH=benchmarks $(python) benchmarks/studies
studied := benchmarks/studies/results

bench-genes-accuracy: setup ## clustering scores by method and number of genes: Tables 3 and 5 of the paper (DATA=folder of h5ad)
	@$(study)/genes_accuracy.py --data $(DATA) --markdown $(studied)/genes_accuracy.md

bench-family: setup ## every preset on 1,000 cells (Table 2 of the paper), then on all cells; resumable (DATA=folder of h5ad)
	@$(study)/family.py --data $(DATA) --cells 1000 --markdown $(studied)/family.md --figure $(studied)/family.png
	@$(study)/family.py --data $(DATA) --latent 10 --seeds 1 --out $(studied)/family_all_cells.csv --markdown $(studied)/family_all_cells.md

bench-family-further: setup ## vasc and scdcc, which came later, beside four of the others; resumable (DATA=folder of h5ad)
	@$(study)/family.py --data $(DATA) --cells 1000 --presets default scdeepcluster scvi contrastive_sc vasc scdcc \
	--out $(studied)/family_further.csv --markdown $(studied)/family_further.md

bench-presets: setup ## presets that came later, each as published, all cells, 2,000 genes: k-means and Leiden; resumable (DATA=folder of h5ad)
	@$(python) benchmarks/accuracy.py --data $(DATA) --methods default contrastive_sc scdcc vasc >/dev/null
	@$(python) benchmarks/report.py --methods default contrastive_sc scdcc vasc --markdown $(studied)/presets.md >/dev/null

bench-family-maps: setup ## draw the cells as every preset has them (Figures 2-6 of the paper) in benchmarks/studies/results/maps
	@$(study)/family.py --data $(DATA) --cells 1000 --latent 2 --seeds 1 --maps $(studied)/maps
	@$(study)/family.py --data $(DATA) --latent 10 --seeds 1 --out $(studied)/family_all_cells.csv --maps $(studied)/maps

bench-prior: setup ## clustering and held-out likelihood by the strength of the prior, fixed or learned; resumable (DATA=folder of h5ad)
	@$(study)/prior.py --data $(DATA) --markdown $(studied)/prior.md --figure $(studied)/prior.png

bench-vae-report: setup ## AE, beta-VAE and beta-VSC on PBMC 3k as in a report, over seeds; resumable (DATA=folder of h5ad)
	@$(study)/vae_report.py --data $(DATA) --markdown $(studied)/vae_report.md --figure $(studied)/vae_report.png

# After `make peers` the methods of others are measured, too.
PEER := $(if $(wildcard .venv-peers/.ready),--peer .venv-peers/bin/python --methods)
# scvi-tools has it from 1.5 on, which needs Python 3.12.
JOINT := $(if $(wildcard .venv-peers/lib/*/site-packages/scvi/external/joint_embedding_scvi),joint_scvi)
SCALEX := $(if $(wildcard .venv-peers/lib/*/site-packages/scalex),scalex)

bench-labels: setup ## types from some labels, calibration, unknown types, beside classifiers on PCA and scANVI (DATA=folder of h5ad)
	@$(python) benchmarks/labels.py --data $(DATA) --markdown benchmarks/results/labels.md \
	$(if $(PEER),$(PEER) scrae scrae_map lr knn lr_harmony knn_harmony scanvi)

bench-constraints: setup ## some labels as pairs of cells, beside a classifier and scANVI; resumable (DATA=folder of h5ad)
	@$(python) benchmarks/constraints.py --data $(DATA) --seeds 3 --markdown benchmarks/results/constraints.md \
	$(if $(PEER),$(PEER) default default_clusters default_codes labels scdcc scanvi)

# An environment that an older `make peers` has made lacks these.
LATER_PEERS := $(if $(wildcard .venv-peers/lib/*/site-packages/concord),scanorama concord)

bench-batch: setup-r ## how batches mix and types stay apart, on real and made batches, beside other packages, Seurat among them; types that one batch holds alone; RLIB=folder with R's batchelor: fastMNN, too (DATA=folder of h5ad)
	@$(if $(RLIB),R_LIBS=$(RLIB)) $(python) benchmarks/batch.py --data $(DATA) --markdown benchmarks/results/batch.md --embeddings build/batch \
	--scib-datasets cellbench_3cl kang_ifnb_2800 baron_human2_4 made_pbmc3k made_klein made_bladder zeisel_1799 \
	$(if $(PEER),--scib benchmarks/results/batch_scib.csv --scib-seeds 3 $(PEER) scrae default pca30 harmony scvi_batch $(LATER_PEERS) seurat_rpca seurat_cca $(if $(RLIB),fastmnn) $(SCALEX:=_batch))
	@$(python) benchmarks/alone.py --data $(DATA) --markdown benchmarks/results/alone.md --embeddings build/batch \
	$(if $(PEER),$(PEER) scrae default pca30 harmony)
	@$(python) benchmarks/batch_variance.py --data $(DATA) --markdown benchmarks/results/batch_variance.md --embeddings build/batch \
	$(if $(PEER),$(PEER) scrae default pca30 harmony scanorama scvi_batch)

bench-conditions: setup ## donors of two conditions: are donors taken out while the condition stays; resumable (DATA=folder of h5ad)
	@$(python) benchmarks/conditions.py --data $(DATA) --markdown benchmarks/results/conditions.md \
	$(if $(PEER),$(PEER) kept corrected default pca30 uncut harmony) >/dev/null

bench-query: setup-r ## cells of a batch that the model has not seen: their types, and whether they lie among the others, beside Seurat and scANVI (DATA=folder of h5ad)
	@$(python) benchmarks/query.py --data $(DATA) --markdown benchmarks/results/query.md --kept build/query \
	$(if $(PEER),$(PEER),--methods) scrae_map scrae_map_batch scrae_together pca30 seurat_transfer $(if $(PEER),scanvi_surgery)

bench-denoise: setup ## denoising by held-out molecules, beside DCA, scVI and MAGIC (DATA=folder of h5ad)
	@$(python) benchmarks/denoise.py --data $(DATA) --markdown benchmarks/results/denoise.md \
	$(if $(PEER),$(PEER) default dca counts mean magic scvi_denoised)

bench-synthetic: setup ## cells from the prior beside held-out ones, and those of scVI (DATA=folder of h5ad)
	@$(python) benchmarks/synthetic.py --data $(DATA) --markdown benchmarks/results/synthetic.md \
	$(if $(PEER),$(PEER) real default independent scvi_samples)

bench-differential: setup ## false discoveries and power, beside scanpy's Wilcoxon and scVI (DATA=folder of h5ad)
	@$(python) benchmarks/differential.py --data $(DATA) --markdown benchmarks/results/differential.md \
	$(if $(PEER),$(PEER) scrae wilcoxon scvi_de)

bench-outliers: setup ## doublets, ambient and shuffled counts among real cells (DATA=folder of h5ad)
	@$(python) benchmarks/outliers.py --data $(DATA) --markdown benchmarks/results/outliers.md

bench-validation: setup ## what checking 70,000 x 20,000 counts costs beside a training (DATA=folder of h5ad)
	@$(python) benchmarks/validation.py --data $(DATA)

attack: setup ## damage, kills, loads beside saves, full disks (root): what comes of each try; 15 minutes
	@nice $(python) benchmarks/attack.py --markdown docs/RELIABILITY.md

peers: setup ## an environment of its own with scvi-tools, Harmony, Scanorama, CONCORD, SCALEX, MAGIC, scib-metrics and scranpy, to measure beside
	@test -e .venv-peers/.ready || { $(python) -m venv --clear .venv-peers && .venv-peers/bin/pip install --quiet \
	"$$(grep '^torch==' requirements.lock)" "scvi-tools>=1.3" "harmonypy>=2" "scanorama>=1.7" "concord-sc>=1" "scalex>=1" "magic-impute>=3" "scib-metrics>=0.5" "scranpy>=0.3" && touch .venv-peers/.ready; }

test-install: setup-r ## install the R package from a clone that is gone afterwards, and Python from a folder of wheels, offline
	@scripts/test-install.sh

bench-r: setup-r installed-r ## time and memory of the R side beside the training
	@R_LIBS=.Rlib RETICULATE_PYTHON=$(python) Rscript --vanilla benchmarks/r_overhead.R

docs: setup ## the documentation site in build/docs/html; tutorials are run, and vignettes where R is there
	@scripts/docs.sh

docs-check: docs ## open every page of the site in headless Chromium, at two widths; run the examples of the reference
	@PYTHONPATH=python .venv-docs/bin/python -m pytest --no-cov -q tests/site

figures: setup ## write the tables of README and docs anew from benchmarks/results
	@$(python) scripts/figures.py write

document: setup-r ## write NAMESPACE and rpkg/man anew from the comments in rpkg/R
	@Rscript --vanilla -e 'roxygen2::roxygenise("rpkg")'

metadata: setup-r ## write the version and release.toml into every file that repeats them (VERSION=0.2.0 sets a new version)
	@$(python) scripts/metadata.py $(if $(VERSION),version $(VERSION),write)
	@$(MAKE) document

release: setup-r ## sdist, wheel, R package, site, notes and conda recipe in dist/; each package is checked, installed in an empty environment and runs the demo
	@scripts/release.sh

test-oldest: ## the quick Python tests with the oldest versions that pyproject.toml allows, in an environment that is deleted again
	@scripts/test-versions.sh oldest

test-latest: ## the same with the latest versions that this Python can have (SCRAE_PYTHON=python3.14 for another one)
	@scripts/test-versions.sh latest

test-newest: ## all tests with Python 3.13, R 4.5, Seurat 5 and the newest packages, in a folder with Debian 13 (root)
	@PYTEST_ARGS="$(PYTEST_ARGS)" scripts/test-newest.sh all $(FILTER)

lock: setup ## write requirements*.lock anew: the newest versions that pyproject.toml allows (root, for Debian 13's Python)
	@$(python) scripts/lock.py
	@scripts/test-newest.sh lock

clean: ## delete caches and what the demo wrote (.venv stays: delete it by hand to start afresh)
	rm -rf .Rlib .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage build dist python/scrae.egg-info
	rm -f demo/pbmc_scrae.h5ad
	find . -name .venv -prune -o -name __pycache__ -type d -exec rm -rf {} +
