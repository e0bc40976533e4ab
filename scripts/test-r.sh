#!/bin/sh
# Installs rpkg into .Rlib/ and runs tests/r with the Python of .venv/. Where R or a package that the tests need is
# missing, it says so and what to install, and that is no failure: the Python core needs no R.
# Arguments: a filter for the names of the test files, as in `scripts/test-r.sh seurat`.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"

needed="cli ggplot2 jsonlite Matrix processx SingleCellExperiment SeuratObject testthat callr"
if ! command -v Rscript >/dev/null; then
    echo "R tests SKIPPED: R is not installed (Debian: scripts/setup-r.sh as root installs it)"
    exit 0
fi
# shellcheck disable=SC2086 # a list of names
missing=$(Rscript --vanilla -e 'for (name in commandArgs(TRUE)) if (!nzchar(system.file(package = name))) cat(name, "")' $needed)
if [ -n "$missing" ]; then
    echo "R tests SKIPPED: R lacks the packages $missing(Debian: scripts/setup-r.sh as root installs them)"
    exit 0
fi
if ! .venv/bin/python -m scrae.r --check </dev/null | grep -q '"problems": \[\]'; then
    echo "R tests FAILED: the Python of .venv cannot talk to R; what it says:" >&2
    .venv/bin/python -m scrae.r --check </dev/null >&2 || true
    exit 1
fi

mkdir -p .Rlib
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! R CMD INSTALL --no-docs --library=.Rlib rpkg >"$log" 2>&1; then
    cat "$log" >&2
    exit 1
fi
SCRAE_FILTER=${1:-} R_LIBS="$root/.Rlib${R_LIBS:+:$R_LIBS}" SCRAE_TEST_PYTHON="$root/.venv/bin/python" Rscript --vanilla tests/r/run.R
