# shellcheck shell=sh
# Installing Debian packages; read by setup.sh and setup-r.sh, which define `say` and $log.
# shellcheck disable=SC2154

# "", "sudo ..." or failure: how to become root here.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        echo ""
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        echo "sudo -n"
    elif command -v sudo >/dev/null && [ -t 0 ]; then
        echo "sudo"
    else
        return 1
    fi
}

# apt_install PACKAGE...: false where there is no apt-get or no way to become root, and where apt-get fails.
apt_install() {
    command -v apt-get >/dev/null && become_root=$(as_root) || return 1
    say "apt-get install $*"
    apt="$become_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120"
    # shellcheck disable=SC2086 # a command and its arguments
    $apt install --no-install-recommends "$@" >>"$log" 2>&1 ||
        { $apt update >>"$log" 2>&1 && $apt install --no-install-recommends "$@" >>"$log" 2>&1; }
}
