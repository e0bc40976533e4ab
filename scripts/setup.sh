#!/bin/sh
# Makes .venv/ with everything that `make demo` and `make test` need, or brings it up to date. A second run takes a second.
# To choose the interpreter: SCRAE_PYTHON=/path/to/python3 make setup
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
venv=.venv
python=$venv/bin/python
unfinished=$venv/.unfinished # there while packages are being installed: whoever finds it starts again from nothing
log=$(mktemp)
trap 'rm -f "$log"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
unset PYTHONHOME PYTHONPATH PIP_USER PIP_TARGET PIP_PREFIX
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

say() { echo "setup: $*"; }

fail() {
    echo "setup: $*" >&2
    grep -v '^WARNING' "$log" | tail -n 25 >&2 || true
    exit 1
}

. scripts/apt.sh

# --- the environment --------------------------------------------------------------------------------------------------

empty() {
    rm -rf "$venv"
    mkdir "$venv"
    : >"$unfinished"
}

has_pip() { "$python" -m pip --version >>"$log" 2>&1; }

# with_venv INTERPRETER and its likes: one way each to fill .venv with a Python and pip.
with_venv() { "$1" -m venv "$venv" >>"$log" 2>&1; }
with_virtualenv() { "$1" -m virtualenv --quiet "$venv" >>"$log" 2>&1; }
with_uv() { command -v uv >/dev/null && uv venv --quiet --seed --allow-existing --python "$1" "$venv" >>"$log" 2>&1; }
with_its_own_pip() {
    "$1" -m venv --without-pip "$venv" >>"$log" 2>&1 &&
        "$1" -m pip --python "$python" install --quiet pip >>"$log" 2>&1
}

is_recent() { command -v "$1" >/dev/null && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >>"$log" 2>&1; }

# attempt WAY: with the first interpreter that can; the last of them is there for what apt-get brings.
attempt() {
    way=$1
    if [ -n "${SCRAE_PYTHON:-}" ]; then
        set -- "$SCRAE_PYTHON"
    else
        set -- python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3
    fi
    for interpreter in "$@"; do
        is_recent "$interpreter" || continue
        empty
        if "$way" "$interpreter" </dev/null && has_pip; then return 0; fi
    done
    return 1
}

create() {
    say "making $venv"
    : >"$log"
    if attempt with_venv; then return; fi
    if apt_install python3 python3-venv && attempt with_venv; then return; fi
    say "python3 (3.11 or newer) cannot make environments here; on Debian and Ubuntu: apt-get install python3-venv"
    say "trying virtualenv, uv and pip instead"
    if attempt with_virtualenv || attempt with_uv || attempt with_its_own_pip; then return; fi
    rm -rf "$venv"
    fail "no way to make an environment was found. Install one of: python3-venv (apt-get), virtualenv, uv. What was tried:"
}

# pip_install ARGUMENTS...
pip_install() {
    status=0
    "$python" -m pip install --quiet "$@" </dev/null >>"$log" 2>&1 || status=$?
    # pip that gave up by itself leaves things in order; pip that was killed does not, and $unfinished stays.
    if [ "$status" -gt 0 ] && [ "$status" -lt 128 ]; then rm -f "$unfinished"; fi
    return "$status"
}

install_python_packages() {
    : >"$log"
    : >"$unfinished"
    say "installing $(grep -c == requirements.lock) packages with $("$python" --version) (a minute or more)"
    pip_install --requirement requirements.lock || fail "pip could not install requirements.lock. Its last words:"
    # Without isolation and dependencies: nothing is fetched that the lock does not name, no second torch above all.
    pip_install --no-deps --no-build-isolation --editable . || fail "pip could not install scrae itself. Its last words:"
}

# rpy2 is built against the R that is found: no wheel built against another one may come from pip's cache.
install_r_bridge() {
    [ -n "$r_version" ] || return 0
    say "installing rpy2 and anndata2ri for $r_version"
    if ! pip_install --no-cache-dir --requirement requirements-r.lock; then
        say "that failed, so the door to R is missing; Python works. On Debian: apt-get install r-base-dev, then again"
        r_version="failed" # recorded as such, so that the next run tries again
    fi
}

# In a file of its own because the environment's Python answers it: environment.py check|record
environment() { "$python" -I scripts/environment.py "$1" "$r_version" >>"$log" 2>&1; }

# --- the run ----------------------------------------------------------------------------------------------------------

# One set-up at a time: two in one folder would pull the environment from under each other.
if command -v flock >/dev/null; then
    exec 9<scripts/setup.sh
    flock -n 9 || { say "waiting for another set-up of this folder to end" && flock 9; }
fi

r_version=""
if command -v R >/dev/null; then r_version=$(R --version 2>/dev/null | head -n 1 | cut -d ' ' -f 1-3); fi

if [ ! -e "$unfinished" ] && environment check; then
    say "$venv is ready"
    exit 0
fi

started=$(date +%s)
reused=yes
if [ -e "$unfinished" ] || ! has_pip || ! environment belongs; then
    reused=no
    create
fi
install_python_packages
install_r_bridge
if ! environment complete && [ "$reused" = yes ]; then
    say "$venv was damaged: starting again"
    create
    install_python_packages
    install_r_bridge
fi
: >"$log"
environment complete || fail "the packages were installed but are not all there:"
environment record
rm -f "$unfinished"
say "$venv is ready after $(($(date +%s) - started)) s"
