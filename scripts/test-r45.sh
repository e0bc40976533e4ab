#!/bin/sh
# The R tests with R 4.5, Seurat 5 and a modern reticulate: those of Debian 13, in a folder of their own (debootstrap), so
# that the machine's own R stays as it is. Needs root on a Debian machine; the folder (1.5 GB) is kept for the next run.
# Packages that Debian lacks (BPCells) are tested with where they are installed in library/ of that folder.
# Debian 13's Python 3.13 may be newer than the wheels that pip finds here: the Python of .venv/ is lent to it.
# Arguments: a filter for the names of the test files.
# shellcheck disable=SC2016 # what stands in single quotes is for apt-get and for the shell inside
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
system=${SCRAE_R45:-/var/tmp/scrae-r45}
packages="r-base-dev r-recommended r-cran-callr r-cran-cli r-cran-ggplot2 r-cran-jsonlite r-cran-processx
    r-cran-ps r-cran-reticulate r-cran-seurat r-cran-seuratobject r-cran-testthat r-bioc-delayedarray r-bioc-hdf5array
    r-bioc-s4vectors r-bioc-singlecellexperiment r-bioc-summarizedexperiment
    libpython3-dev"

say() { echo "test-r45: $*"; }

[ "$(id -u)" -eq 0 ] || { say "needs root, for chroot" >&2 && exit 1; }
command -v debootstrap >/dev/null || { say "needs debootstrap: apt-get install debootstrap" >&2 && exit 1; }

# Mounts are made in a mount namespace of our own: they end with this script, whatever ends it.
if [ "${SCRAE_UNSHARED:-}" != yes ]; then
    SCRAE_UNSHARED=yes exec unshare --mount "$0" "$@"
fi

if [ ! -e "$system/.debian-is-there" ]; then
    # From where this machine gets its own packages.
    site=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
    say "making Debian 13 in $system"
    rm -rf "$system"
    debootstrap --variant=minbase trixie "$system" "$site" >"$root/.debootstrap.log" 2>&1 ||
        { tail "$root/.debootstrap.log" >&2 && exit 1; }
    rm "$root/.debootstrap.log"
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
base=$(.venv/bin/python -c 'import sys; print(sys.base_prefix)')
mount -t proc proc "$system/proc"
mount -t tmpfs tmpfs "$system/dev/shm"

# What a shell runs in the background ignores Ctrl-C, and R 4.5 keeps to that: the test of Ctrl-C would wait in vain.
# shellcheck disable=SC2086 # several settings, none with a space
inside() {
    env -i --default-signal=INT HOME=/root TERM="${TERM:-dumb}" PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin LC_ALL=C.UTF-8 \
        DEBIAN_FRONTEND=noninteractive OMP_NUM_THREADS=1 $pip_settings "$@"
}

if [ ! -e "$system/.r-is-there" ]; then
    say "installing R and its packages"
    # shellcheck disable=SC2086 # a list of names
    inside chroot "$system" sh -c 'apt-get -q update && apt-get -q -y install --no-install-recommends "$@"' sh $packages \
        >"$system/apt.log" 2>&1 || { tail -n 20 "$system/apt.log" >&2 && exit 1; }
    : >"$system/.r-is-there"
fi
# Only now: apt-get in there writes certificates and settings of its own.
for path in "$base" /etc/pip.conf /root/.config/pip /etc/ssl/certs /opt "$root" "$(dirname "$root")/shared"; do
    lend "$path"
done
if ! cmp -s requirements.lock "$system/.python-is-there"; then
    say "installing the Python packages"
    rm -rf "$system/venv"
    # The newest rpy2 for this R, not that of requirements-r.lock.
    inside chroot "$system" sh -c '"$1/bin/python3" -m venv /venv && cd "$2" &&
        /venv/bin/python -m pip install -q --no-cache-dir -r requirements.lock anndata2ri rpy2' sh "$base" "$root" \
        >"$system/pip.log" 2>&1 || { tail -n 20 "$system/pip.log" >&2 && exit 1; }
    cp requirements.lock "$system/.python-is-there"
fi

mkdir -p "$system/library"
inside chroot "$system" R CMD INSTALL --no-docs --library=/library "$root/rpkg" >"$system/install.log" 2>&1 ||
    { cat "$system/install.log" >&2 && exit 1; }
inside R_LIBS=/library SCRAE_TEST_PYTHON=/venv/bin/python SCRAE_FILTER="${1:-}" \
    chroot "$system" sh -c 'cd "$1" && Rscript --vanilla tests/r/run.R' sh "$root"
