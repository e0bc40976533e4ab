#!/bin/sh
# Sees to it that R and the packages that the R package scRAE and its tests need are there: with apt-get on Debian and
# Ubuntu where it may, and with a word on what to install everywhere else. Python works without, so that is no failure.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# What the package imports and what its tests, checks and vignettes use.
cran="callr cli ggplot2 jsonlite knitr Matrix processx ps reticulate rmarkdown roxygen2 Seurat SeuratObject testthat"
bioconductor="BiocCheck BiocStyle DelayedArray DESeq2 edgeR HDF5Array MultiAssayExperiment S4Vectors scater SingleCellExperiment SummarizedExperiment"
debian="r-base-dev r-recommended pandoc qpdf tidy"
for package in $cran; do
    case $package in
        Matrix) ;; # in r-recommended
        *) debian="$debian r-cran-$(echo "$package" | tr '[:upper:]' '[:lower:]')" ;;
    esac
done
for package in $bioconductor; do
    debian="$debian r-bioc-$(echo "$package" | tr '[:upper:]' '[:lower:]')"
done

say() { echo "setup-r: $*"; }

. scripts/apt.sh

# Names of the R packages that are not there; all of them where R is not.
missing() {
    command -v Rscript >/dev/null || { echo "$cran $bioconductor" && return; }
    # shellcheck disable=SC2086 # a list of names
    Rscript --vanilla -e 'for (name in commandArgs(TRUE)) if (!nzchar(system.file(package = name))) cat(name, "")' \
        $cran $bioconductor
}

if [ -z "$(missing)" ]; then
    say "R and its packages are there"
    exit 0
fi
# shellcheck disable=SC2086 # a list of names
if apt_install $debian && [ -z "$(missing)" ]; then
    say "R and its packages are installed"
    exit 0
fi
say "R lacks: $(missing)"
say "R tests will be skipped. On Debian and Ubuntu, as root: apt-get install $debian"
