#!/bin/sh
# The Python and the R tests with the newest versions that there are: Python 3.13, R 4.5 and Seurat 5 of Debian 13, and the
# packages of requirements-newest.lock. They live in a folder of their own (debootstrap), so that the machine's own
# packages stay as they are. Needs root on a Debian machine. The folder (3 GB) is kept for the next run, outside of the
# tree: rm -r /var/tmp/scrae-debian13 removes it.
# SCRAE_DEBIAN=sid takes Debian's unstable suite instead, which changes every day: Python 3.14 and R 4.6 (November 2026), in
# /var/tmp/scrae-debian-sid. SCRAE_DEBIAN=forky has the same Python, and not every R package.
# torch is Debian's own build, since the wheels for Python 3.13 bring gigabytes of CUDA libraries.
# Without OpenBLAS, its matrix products and R's are those of the reference BLAS: sixteen times slower.
# R packages that Debian lacks (BPCells) are tested with where they are installed in library/ of that folder.
# Usage: test-newest.sh [all|ci|python|r|check|lock] [filter for the names of the R test files]
# ci: the R tests, and the Python tests of what other versions can change (counts, AnnData, files, R); check: R CMD check and
# BiocCheck, as `make check`; lock: write requirements-newest.lock anew.
# Ends with 69 where this machine cannot have such a folder, so that nothing was tested.
# shellcheck disable=SC2016 # what stands in single quotes is for apt-get and for the shell inside
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
part=${1:-all}
filter=${2:-}
suite=${SCRAE_DEBIAN:-trixie}
system=/var/tmp/scrae-debian-$suite
[ "$suite" != trixie ] || system=/var/tmp/scrae-debian13
packages="python3-torch libopenblas0-pthread python3-venv python3-dev git make
    r-base-dev r-recommended r-cran-callr r-cran-cli r-cran-ggplot2 r-cran-jsonlite r-cran-processx
    r-cran-ps r-cran-reticulate r-cran-seurat r-cran-seuratobject r-cran-testthat r-bioc-delayedarray r-bioc-deseq2
    r-bioc-edger r-bioc-hdf5array r-bioc-multiassayexperiment r-bioc-s4vectors r-bioc-singlecellexperiment
    r-bioc-summarizedexperiment"

# What reads or makes counts, AnnData, tables, files or answers for R.
changing="bridge test_bad_input.py test_batches.py test_cli.py test_clusters.py test_count_folders.py test_damaged_matrices.py test_data.py
    test_differential.py test_from_disk.py test_genes.py test_integration.py test_labels.py test_lazy.py test_model_folder.py test_neighbors.py test_new_batches.py
    test_old_model_folders.py test_plots.py test_pseudobulk.py test_ranked_genes.py test_report.py test_scanpy_layer.py
    test_several_files.py test_spared_hdf5.py"

say() { echo "test-newest: $*"; }
cannot() { say "$*" >&2 && exit 69; }

case $part in
    all | ci | python | r | lock) ;;
    check) packages="$packages pandoc qpdf r-bioc-bioccheck r-bioc-biocstyle r-bioc-scater r-cran-knitr r-cran-rmarkdown" ;;
    *) say "say all, ci, python, r, check or lock" >&2 && exit 1 ;;
esac

# Mounts are made in a mount namespace of our own: they end with this script, whatever ends it.
if [ "${SCRAE_UNSHARED:-}" != yes ]; then
    [ "$(id -u)" -eq 0 ] || cannot "needs root, for chroot"
    . scripts/apt.sh
    log=$(mktemp)
    command -v debootstrap >/dev/null || apt_install debootstrap || cannot "needs debootstrap, on Debian or Ubuntu"
    rm "$log"
    unshare --mount true || cannot "may not make a mount namespace here"
    SCRAE_UNSHARED=yes exec unshare --mount "$0" "$@"
fi

# -- the system ------------------------------------------------------------------------------------------------------------

if [ ! -e "$system/.debian-is-there" ]; then
    # From where this machine gets its own packages.
    site=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
    say "making Debian $suite in $system"
    rm -rf "$system"
    log=$(mktemp)
    debootstrap --variant=minbase "$suite" "$system" "$site" >"$log" 2>&1 || { tail "$log" >&2 && cannot "debootstrap failed"; }
    rm "$log"
    cp /etc/resolv.conf /etc/hosts "$system/etc/"
    : >"$system/.debian-is-there"
fi

# lend PATH: the same path in there, to read only. What is installed in there must never change this machine.
lend() {
    [ -e "$1" ] || return 0
    if [ -d "$1" ]; then mkdir -p "$system$1"; else mkdir -p "$(dirname "$system$1")" && : >>"$system$1"; fi
    mount --bind "$1" "$system$1"
    mount -o remount,bind,ro "$system$1"
}
# What pip is told on this machine, it is told in there.
pip_settings=$(env | grep '^PIP_[A-Z_]*=[^ ]*$' || true)
mount -t proc proc "$system/proc"
mount -t tmpfs tmpfs "$system/dev/shm"

# What a shell runs in the background ignores Ctrl-C, and R 4.5 keeps to that: the test of Ctrl-C would wait in vain.
# shellcheck disable=SC2086 # several settings, none with a space
inside() {
    env -i --default-signal=INT HOME=/root TERM="${TERM:-dumb}" PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin LC_ALL=C.UTF-8 \
        DEBIAN_FRONTEND=noninteractive OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1 \
        MPLBACKEND=Agg SCRAE_DATA="$(dirname "$root")/shared/data" $pip_settings chroot "$system" "$@"
}

# quietly LOG COMMAND...: what it says is shown only where it fails.
quietly() {
    log=$system/$1
    shift
    "$@" >"$log" 2>&1 || { tail -n 20 "$log" >&2 && return 1; }
}

have=$(cat "$system/.packages-are-there" 2>/dev/null || true)
if [ "${have#"$packages"}" = "$have" ]; then # what is there may be more
    say "installing R, Python's torch and what they need"
    stale="" # a snapshot of a suite that changes every day says after a week that it is out of date
    [ "$suite" = trixie ] || stale="-o Acquire::Check-Valid-Until=false"
    # shellcheck disable=SC2086 # a list of names
    quietly apt.log inside sh -c 'apt-get -q $0 update && apt-get -q -y install --no-install-recommends "$@"' \
        "$stale" $packages ||
        cannot "Debian's packages could not be installed"
    echo "$packages" >"$system/.packages-are-there"
fi
# Only now: apt-get in there writes certificates and settings of its own.
for path in /etc/pip.conf /etc/xdg/pip /root/.config/pip /etc/ssl/certs /opt "$(dirname "$root")/shared"; do lend "$path"; done

# -- the tree, to be written to by tests, and its Python environment -----------------------------------------------------------

# Where the sources have the same path as here, and what is written beside them is gone afterwards.
mkdir -p "$system$root"
mount --bind "$root" "$system$root"
mount -t tmpfs tmpfs "$system/mnt"
mkdir "$system/mnt/written" "$system/mnt/work"
mount -t overlay overlay -o "lowerdir=$root,upperdir=$system/mnt/written,workdir=$system/mnt/work" "$system$root"

if [ "$part" = lock ]; then
    inside sh -c 'cd "$1" && python3 -m venv /tmp/lock && /tmp/lock/bin/python scripts/lock.py --newest && rm -r /tmp/lock' sh "$root"
    cp "$system$root/requirements-newest.lock" "$root/"
    exit 0
fi
if ! cmp -s requirements-newest.lock "$system/.python-is-there"; then
    say "installing the Python packages"
    rm -rf "$system/venv"
    quietly pip.log inside sh -c 'python3 -m venv --system-site-packages /venv && cd "$1" &&
        /venv/bin/python -m pip install -q --no-cache-dir -r requirements-newest.lock' sh "$root" || cannot "the Python packages could not be installed"
    cp requirements-newest.lock "$system/.python-is-there"
fi
quietly pip.log inside sh -c 'cd "$1" && /venv/bin/python -m pip install -q --no-deps --no-build-isolation --editable .' sh "$root"
inside sh -c '/venv/bin/python --version; R --version | head -n 1
    /venv/bin/python -m pip list 2>/dev/null | grep -E "^(anndata|anndata2ri|matplotlib|numba|numpy|pandas|rpy2|scanpy|scikit-learn|scipy|torch|zarr) "'

# -- the tests -------------------------------------------------------------------------------------------------------------

failed=""
if [ "$part" = check ]; then
    inside sh -c 'cd "$1" && SCRAE_TEST_PYTHON=/venv/bin/python scripts/check-r.sh' sh "$root"
    exit
fi
if [ "$part" != r ]; then
    asked=""
    if [ "$part" = ci ]; then for name in $changing; do asked="$asked tests/python/$name"; done; fi
    say "the Python tests"
    # shellcheck disable=SC2086 # several arguments
    inside sh -c 'cd "$1" && shift && /venv/bin/python -m pytest -n 2 --dist loadfile --no-cov "$@"' \
        sh "$root" $asked ${PYTEST_ARGS:-} ||
        failed="$failed pytest"
fi
if [ "$part" != python ]; then
    say "the R tests"
    mkdir -p "$system/library"
    quietly install.log inside R CMD INSTALL --no-docs --library=/library "$root/rpkg"
    inside env R_LIBS=/library SCRAE_TEST_PYTHON=/venv/bin/python SCRAE_FILTER="$filter" \
        sh -c 'cd "$1" && Rscript --vanilla tests/r/run.R' sh "$root" || failed="$failed testthat"
fi
[ -z "$failed" ] || { say "FAILED:$failed" >&2 && exit 1; }
