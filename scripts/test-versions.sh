#!/bin/sh
# Runs the quick Python tests with the oldest or the latest versions that pyproject.toml allows, in an environment of its
# own that is deleted afterwards: `scripts/test-versions.sh oldest`. requirements.lock, and so `make test`, lies between.
# To choose the interpreter: SCRAE_PYTHON=python3.13. The oldest versions have wheels for Python 3.11 and older only.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
which=${1:-}
case $which in
    oldest | latest) ;;
    *) echo "test-versions: say oldest or latest" >&2 && exit 1 ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
unset PYTHONPATH PYTHONHOME
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 MPLBACKEND=Agg
# One thread each, as in `make test`.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1

interpreter=${SCRAE_PYTHON:-python3}
echo "== $("$interpreter" --version) with the $which versions"
"$interpreter" -m venv "$work/environment"
python=$work/environment/bin/python
"$interpreter" scripts/oldest.py >"$work/oldest.txt"
echo 'zarr<3' >>"$work/oldest.txt" # the oldest anndata knows no other
# Nor does it read the shared data, which newer versions have written: tests that need these are skipped.
[ "$which" = latest ] || export SCRAE_DATA="$work/none"
[ "$which" = oldest ] || : >"$work/oldest.txt"
# Beside the extra: a test asks import-linter for the direction of imports, and older versions of anndata bring no zarr.
"$python" -m pip install --quiet --constraint "$work/oldest.txt" --editable ".[test]" import-linter zarr
"$python" -m pip list
# A newer version may warn where the locked one does not; that is told, and fails `make test` once it is locked.
"$python" -m pytest --no-cov -m "not slow" -W default
