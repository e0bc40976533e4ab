#!/bin/sh
# Installs the R package as its users do, from a clone that is gone afterwards: with remotes::install_local(), and from the
# tarball of R CMD build. Then, without a network, it makes the Python environment from a folder of wheels and trains.
# Takes some minutes, most of them pip's; needs root or user namespaces, to take the network away.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$work"

say() { echo "test-install: $*"; }
without_network() {
    if [ "$(id -u)" -eq 0 ]; then unshare --net "$@"; else unshare --map-root-user --net "$@"; fi
}

git clone --quiet "$root" clone
mkdir remotes tarball
if Rscript --vanilla -e 'quit(status = !requireNamespace("remotes", quietly = TRUE))'; then
    say "remotes::install_local()"
    # The version of Bioconductor would be looked up in the internet.
    R_BIOC_VERSION=3.16 Rscript --vanilla -e \
        'remotes::install_local("clone/rpkg", lib = "remotes", dependencies = FALSE, upgrade = "never", quiet = TRUE)'
else
    say "SKIPPED remotes::install_local(): the R package remotes is not installed (Debian: r-cran-remotes)"
    rmdir remotes
fi
say "R CMD build and R CMD INSTALL"
R CMD build --no-build-vignettes clone/rpkg >build.log 2>&1 || { cat build.log >&2 && exit 1; }
R CMD INSTALL --library=tarball scRAE_*.tar.gz >install.log 2>&1 || { cat install.log >&2 && exit 1; }
if [ -d remotes ]; then diff -r remotes/scRAE/core tarball/scRAE/core; fi
python=$("$root/.venv/bin/python" -c 'import sys; print(sys._base_executable)')
rm -rf clone

say "pip download"
cp -r tarball/scRAE/core core
constraints="--constraint core/requirements.lock"
if Rscript --vanilla -e 'quit(status = getRversion() >= "4.5")'; then
    constraints="$constraints --constraint core/requirements-r.lock"
fi
# shellcheck disable=SC2086 # several arguments
"$python" -m pip download -qq --disable-pip-version-check --dest wheels $constraints './core[r]' setuptools wheel
rm -rf core
du -shL wheels

cat >train.R <<'R'
library(scRAE)
options(scrae.python = "environment/bin/python")
SCRAEStatus()
cells <- RunSCRAE(PBMCExample(), max_epochs = 3, verbose = FALSE)
print(dim(SingleCellExperiment::reducedDim(cells, "SCRAE")))
R
say "InstallSCRAE(offline = \"wheels\") without a network"
R_LIBS=tarball without_network Rscript --vanilla -e \
    'scRAE::InstallSCRAE(envname = "environment", offline = "wheels", python = commandArgs(TRUE), verbose = FALSE)' "$python"
for library in remotes tarball; do
    [ -d "$library" ] || continue
    say "training with the package from $library"
    R_LIBS=$library without_network Rscript --vanilla train.R
done
say "passed"
