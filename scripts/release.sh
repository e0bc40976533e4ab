#!/bin/sh
# Builds what a release hands out into dist/: sdist and wheel of the Python package, source package of the R package, the
# documentation site, the notes and the recipe for conda-forge. The three packages are checked (twine, R CMD check, BiocCheck),
# and each is installed in an empty environment and runs the demo there. dist/ is filled only when all of that has gone well.
# Takes half an hour or more, most of it vignettes, tutorials and R CMD check; changes nothing outside dist/ and build/, and
# publishes nothing. For a trial SCRAE_NO_SITE=1 leaves the site out, SCRAE_NO_CHECK=1 the check of the R package, and
# SCRAE_NO_VIGNETTES=1 its vignettes.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
venv=$root/.venv/bin/python

say() { echo "release: $*"; }
fail() {
    echo "release: $*" >&2
    exit 1
}

[ -z "$(git status --porcelain)" ] || fail "the tree is dirty: commit or remove first what \`git status\` lists"
"$venv" scripts/metadata.py check || fail "versions or addresses disagree"
command -v R >/dev/null || fail "R is not installed: scripts/setup-r.sh as root installs it"
version=$("$venv" -c 'import runpy; print(runpy.run_path("python/scrae/_version.py")["__version__"])')

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
unset PYTHONPATH PYTHONHOME R_LIBS
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 OMP_NUM_THREADS=1 MPLBACKEND=Agg

# logged COMMAND...: its output is shown only if it fails.
logged() { "$@" >"$work/log" 2>&1 </dev/null || { cat "$work/log" >&2 && fail "failed: $*"; }; }

# --- building ---------------------------------------------------------------------------------------------------------

# From the commit, not from the folder: nothing that git ignores gets in.
mkdir "$work/source" "$work/dist"
git archive HEAD | tar -x -C "$work/source"
interpreter=$("$venv" -c 'import sys; print(sys._base_executable)')
logged "$interpreter" -m venv "$work/tools"
logged "$work/tools/bin/python" -m pip install --quiet build twine

say "sdist and wheel of scrae $version"
logged "$work/tools/bin/python" -m build --outdir "$work/dist" "$work/source"
logged "$work/tools/bin/python" -m twine check --strict "$work"/dist/*
sdist=$work/dist/scrae-$version.tar.gz
wheel=$work/dist/scrae-$version-py3-none-any.whl
[ -e "$sdist" ] && [ -e "$wheel" ] || fail "the names are others than expected: $(ls "$work/dist")"

say "source package of scRAE $version${SCRAE_NO_VIGNETTES:+ without its vignettes}"
(cd "$work" && RETICULATE_PYTHON=$venv && export RETICULATE_PYTHON &&
    logged R CMD build ${SCRAE_NO_VIGNETTES:+--no-build-vignettes} "$work/source/rpkg")
tarball=$work/scRAE_$version.tar.gz
[ -e "$tarball" ] || fail "R CMD build made no scRAE_$version.tar.gz"

if [ -z "${SCRAE_NO_CHECK:-}" ]; then
    say "R CMD check and BiocCheck of it"
    logged scripts/check-r.sh "$tarball"
    grep -E "^Status:" "$work/log" || true
fi

say "the notes, and the recipe with the digest of the sdist"
"$venv" scripts/metadata.py notes >"$work/notes-$version.md"
digest=$(sha256sum "$sdist" | cut -d ' ' -f 1)
sed "s/^  sha256: .*/  sha256: \"$digest\"/" "$work/source/recipe/recipe.yaml" >"$work/recipe.yaml"
grep -q "$digest" "$work/recipe.yaml" || fail "recipe/recipe.yaml has no line for the digest"

site=
if [ -z "${SCRAE_NO_SITE:-}" ]; then
    say "the site"
    logged scripts/docs.sh
    [ -e build/docs/html/index.html ] || fail "scripts/docs.sh made no site"
    site=$work/site-$version.tar.gz
    tar -czf "$site" -C build/docs/html .
fi

# --- installing and using ---------------------------------------------------------------------------------------------

# From an empty folder, so that only what is installed can be found. The demo is no part of a package, and a copy of it.
mkdir -p "$work/empty/demo"
cp "$work/source/demo/run.py" "$work/empty/demo/"
cd "$work/empty"
cat >"$work/use.py" <<'PYTHON'
import runpy
import sys

import anndata
import numpy as np

import scrae

version, environment = sys.argv[1:]
assert scrae.__version__ == version, scrae.__version__
assert scrae.__file__.startswith(environment), scrae.__file__

runpy.run_path("demo/run.py", run_name="__main__")
adata = anndata.read_h5ad("demo/pbmc_scrae.h5ad")
embedding = adata.obsm["X_scrae"]
assert embedding.shape == (700, 30), embedding.shape
assert np.isfinite(embedding).all()
assert 3 <= adata.obs["scrae_clusters"].nunique() <= 20
PYTHON

# use_python NAME FILE: an environment of that name with nothing but the file and what that needs, in the versions of
# requirements.lock: here it is asked what our own files lack. Whether other versions do is asked by `make test-newest`.
use_python() {
    environment=$work/$1
    logged "$interpreter" -m venv "$environment"
    logged "$environment/bin/python" -m pip install --quiet --constraint "$root/requirements.lock" "$2"
    logged "$environment/bin/scrae" doctor
    cat "$work/log"
    logged "$environment/bin/python" "$work/use.py" "$version" "$environment"
    cat "$work/log"
    rm -f demo/pbmc_*
}

say "the sdist in an empty environment"
use_python from-sdist "$sdist"
rm -rf "$work/from-sdist"
say "the wheel in an empty environment"
use_python from-wheel "$wheel"
# The door to R is built against the R that is found: no wheel built against another one may come from pip's cache.
# Its newer versions need R 4.5 (requirements-r.lock says why).
set -- --quiet --no-cache-dir --constraint "$root/requirements.lock" "${wheel}[r]"
if Rscript --vanilla -e 'quit(status = getRversion() >= "4.5")'; then set -- "$@" --constraint "$root/requirements-r.lock"; fi
logged "$work/from-wheel/bin/python" -m pip install "$@"

say "the R package in an empty library, with that environment"
mkdir "$work/library"
logged R CMD INSTALL --library="$work/library" "$tarball"
cat >"$work/use.R" <<'R'
arguments <- commandArgs(TRUE)
library(scRAE, lib.loc = arguments[2])
stopifnot(as.character(packageVersion("scRAE", arguments[2])) == arguments[1])
options(scrae.python = arguments[3])
stopifnot(SCRAEStatus()$ready)
cells <- RunSCRAE(PBMCExample(), verbose = FALSE)
embedding <- SingleCellExperiment::reducedDim(cells, "SCRAE")
stopifnot(nrow(embedding) == ncol(cells), ncol(embedding) == 30, is.finite(embedding))
cells <- ClusterSCRAE(cells, verbose = FALSE)
print(S4Vectors::metadata(cells)$scrae_clusters$clusters[, 1:3])
ggplot2::ggsave("clusters.png", plotClustersSCRAE(cells), width = 8, height = 6)
ReportSCRAE(cells, "run.html")
stopifnot(file.size("run.html") > 1e5)
stopifnot(nzchar(Sys.getenv("SCRAE_NO_VIGNETTES")) || nrow(vignette(package = "scRAE", lib.loc = arguments[2])$results) > 0)
R
logged Rscript --vanilla "$work/use.R" "$version" "$work/library" "$work/from-wheel/bin/python"
cat "$work/log"

cd "$root"
rm -rf dist
mkdir dist
# shellcheck disable=SC2086 # the site may be missing
mv "$sdist" "$wheel" "$tarball" "$work/notes-$version.md" "$work/recipe.yaml" $site dist/
say "passed; in dist/:"
ls -l dist
"$venv" scripts/metadata.py publishable || say "not yet to be published, see above"
