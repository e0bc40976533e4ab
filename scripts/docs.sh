#!/bin/sh
# Builds the documentation site in build/docs/html. What Sphinx needs goes into .venv-docs, which sees the packages of .venv,
# so that nothing stands twice and .venv stays what the lock says. The vignettes are rendered where R can.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
venv=.venv-docs
python=$venv/bin/python
made=build/docs
log=$(mktemp)
trap 'rm -f "$log"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1 MPLBACKEND=Agg

say() { echo "docs: $*"; }

stamp=$(cat requirements-docs.lock scripts/docs.sh | cksum; pwd)
if [ ! -e "$venv/.made-from" ] || [ "$stamp" != "$(cat "$venv/.made-from")" ]; then
    say "installing $(grep -c == requirements-docs.lock) packages into $venv"
    rm -rf "$venv"
    .venv/bin/python -m venv "$venv"
    # Packages of .venv are found behind those of .venv-docs, scrae itself among them.
    packages=$("$root/.venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    own=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    echo "import site; site.addsitedir('$packages')" >"$own/packages-of-venv.pth"
    "$python" -m pip install --quiet --no-deps --requirement requirements-docs.lock >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
    echo "$stamp" >"$venv/.made-from"
fi
PATH="$root/$venv/bin:$PATH"
export PATH PYTHONPATH="$root/python"

render_vignettes() {
    command -v Rscript >/dev/null || return 1
    needed=$(Rscript --vanilla -e 'cat(all(nzchar(sapply(c("knitr", "callr", "Seurat", "scater", "processx"), function(name) system.file(package = name)))))')
    [ "$needed" = TRUE ] || return 1
    mkdir -p .Rlib
    R CMD INSTALL --no-docs --library=.Rlib rpkg >"$log" 2>&1 || return 1
    R_LIBS="$root/.Rlib${R_LIBS:+:$R_LIBS}" RETICULATE_PYTHON="$root/.venv/bin/python" PYTHONPATH='' \
        Rscript --vanilla docs/site/vignettes.R vignettes "$made/vignettes"
}
[ -n "${SCRAE_NO_VIGNETTES:-}" ] || render_vignettes || say "the vignettes are left out: R, or a package that they need, is missing or failed (make setup-r)"

.venv/bin/python docs/site/stage.py "$made/source"
unset MPLBACKEND
# A profile of its own for the tutorials: that of the user plays no part, and the kernel does not warn of its own transport.
IPYTHONDIR=$root/$made/ipython
export IPYTHONDIR
mkdir -p "$IPYTHONDIR/profile_default"
echo 'c.IPKernelApp.log_level = "ERROR"' >"$IPYTHONDIR/profile_default/ipython_kernel_config.py"
"$python" -m sphinx -W --keep-going -q -c docs/site -d "$made/doctrees" -b html "$made/source" "$made/html"
"$python" docs/site/check.py "$made/html"
say "the site is in $made/html/index.html"
