#!/bin/sh
# Prepare this checkout: Debian or Ubuntu as root, or any Linux that has what is needed already.
#
#   scripts/setup.sh python     .venv with the package (editable), its embedded engine and the development tools
#   scripts/setup.sh machine    a Docker engine, bubblewrap and a Chromium, where they are missing and this is root
#
# Both do nothing when nothing is missing. Everything they say goes to standard error.
set -eu

cd "$(dirname "$0")/.."
python="${PYTHON:-python3}"

say() {
    echo "setup: $*" >&2
}

fail() {
    say "$*"
    exit 1
}

is_root() {
    [ "$(id -u)" -eq 0 ]
}

# Installs Debian packages; fails where this is not root on a Debian.
apt() {
    is_root && command -v apt-get >/dev/null || return 1
    say "installing $* ..."
    export DEBIAN_FRONTEND=noninteractive
    log="$(mktemp)"
    if { apt-get install -y -qq --no-install-recommends "$@" ||
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"; }; } >"$log" 2>&1 </dev/null; then
        rm -f "$log"
    else
        tail -n 20 "$log" >&2
        rm -f "$log"
        return 1
    fi
}

# --- Python packages --------------------------------------------------------------------------------------------------

prepare_python() {
    command -v "$python" >/dev/null || apt python3 ||
        fail "there is no '$python'; install Python 3.11 or newer, or name one: make setup PYTHON=/path/to/python3"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$("$python" --version) is too old, 3.11 is the oldest that works: make setup PYTHON=/path/to/python3"

    if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        "$python" -c 'import ensurepip, venv' 2>/dev/null || apt python3-venv ||
            fail "$python cannot make virtual environments: install python3-venv"
        say "making .venv with $("$python" --version)"
        rm -rf .venv
        "$python" -m venv .venv
    fi
    say "installing Python packages into .venv (about 250 MB, some minutes on a slow line) ..."
    began="$(date +%s)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --editable '.[dev]' >&2 </dev/null ||
        fail "pip could not install the packages (see above); mend that and run it again"
    touch .venv/.installed
    say "Python packages are ready ($(($(date +%s) - began)) s)"
}

# --- the machine ------------------------------------------------------------------------------------------------------

has_chromium() {
    for program in "${BRANCHWISE_CHROMIUM:-}" /usr/lib/chromium/chromium-headless-shell chromium-headless-shell chromium \
        chromium-browser google-chrome google-chrome-stable; do
        [ -n "$program" ] && command -v "$program" >/dev/null && return 0
    done
    ls "${PLAYWRIGHT_BROWSERS_PATH:-$HOME/.cache/ms-playwright}"/chromium* >/dev/null 2>&1
}

prepare_machine() {
    # What runs where no engine can: a sandbox made of namespaces.
    command -v bwrap >/dev/null || apt bubblewrap ||
        say "bubblewrap is missing (it needs root to install): there will be no fallback for machines without Docker"
    # Pages are shown by Debian's headless Chromium, unless there is one already.
    has_chromium || apt chromium-headless-shell fonts-liberation ||
        say "there is no Chromium (it needs root to install): tests marked 'browser' will fail; 'playwright install chromium'" \
            "brings one without root"
    scripts/docker-engine.sh ||
        say "there is no Docker engine: agents fall back to bubblewrap, and tests marked 'docker' will fail" \
            "(leave them out with: make test ARGS='-m \"not docker\"')"
}

case "${1:-}" in
python) prepare_python ;;
machine) prepare_machine ;;
*) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
esac
