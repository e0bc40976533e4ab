#!/bin/sh
# R CMD build and R CMD check --as-cran of rpkg, then BiocCheck. Ends with failure at an error or a warning.
# Usage: check-r.sh [TARBALL], a source package to check instead of building one.
# What needs the internet is switched off: CRAN's own pages, the clock, BiocCheck's look at Bioconductor.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
command -v R >/dev/null || { echo "check: R is not installed: scripts/setup-r.sh as root installs it" >&2 && exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/library"
# The Python of this folder for examples, tests and vignettes.
export RETICULATE_PYTHON="${SCRAE_TEST_PYTHON:-$root/.venv/bin/python}" OMP_NUM_THREADS=1
export R_LIBS="$work/library${R_LIBS:+:$R_LIBS}"
# M3Drop, SCMarker and BPCells are not in Debian. Whether a missing package has lost its maintainer, R asks CRAN: an
# empty list answers.
mkdir -p "$work/cran/web/packages"
Rscript --vanilla -e 'saveRDS(data.frame(Package = character(), Maintainer = character()), commandArgs(TRUE))' \
    "$work/cran/web/packages/packages.rds"
export R_CRAN_WEB="file://$work/cran"
export _R_CHECK_FORCE_SUGGESTS_=false _R_CHECK_CRAN_INCOMING_=FALSE _R_CHECK_SYSTEM_CLOCK_=0

if [ -n "${1:-}" ]; then
    package=$1
else
    echo "== R CMD build (with vignettes)"
    (cd "$work" && R CMD build "$root/rpkg")
    package=$(ls "$work"/scRAE_*.tar.gz)
fi
echo "== R CMD check --as-cran"
# The vignettes were run a moment ago.
(cd "$work" && R CMD check --as-cran --no-manual --no-vignettes --no-build-vignettes "$package")
if grep -E '^Status:.*(ERROR|WARNING)' "$work/scRAE.Rcheck/00check.log"; then exit 1; fi
echo "== BiocCheck"
R CMD INSTALL --library="$work/library" "$package" >"$work/install.log" 2>&1 || { cat "$work/install.log" >&2 && exit 1; }
Rscript --vanilla - "$package" <<'R'
result <- BiocCheck::BiocCheck(commandArgs(TRUE)[1],
    `no-check-bioc-help` = TRUE, `no-check-version-num` = TRUE,
    `no-check-deprecated` = TRUE, `no-check-CRAN` = TRUE,
    `no-check-bioc-views` = FALSE
)
# Which packages are Bioconductor's, newer versions ask the internet.
offline <- vapply(
    as.list(result$warning),
    function(one) any(grepl("No Bioconductor dependencies detected", unlist(one), fixed = TRUE)), NA
)
quit(status = as.integer(length(result$error) + sum(!offline) > 0))
R
