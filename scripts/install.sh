#!/bin/sh
# install.sh PYTHON VENV: builds Segue's wheel for an interpreter and installs it in a virtual environment.
#
# Makes the environment when it isn't there, with the tools of scripts/requirements.txt in it. Needs cargo.
# SEGUE_PROFILE chooses the Cargo profile (default: release), SEGUE_FLAGS are further options of maturin's.
set -eu
cd "$(dirname "$0")/.."
python=$1 venv=$2

die() {
    echo "error: $*" >&2
    exit 1
}

command -v "$python" >/dev/null || die "no interpreter $python: name another with PYTHON=…"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die "$("$python" -V) is too old: Segue needs Python 3.11 or newer (PYTHON=… names another)"
command -v cargo >/dev/null || die "cargo is missing: install Rust from https://rustup.rs (1.85 or newer)"
command -v cc >/dev/null || die "a C linker is missing: install gcc (Debian: apt-get install gcc libc6-dev)"

if [ ! -x "$venv/bin/python" ]; then
    "$python" -m venv "$venv" ||
        die "cannot make a virtual environment: Debian keeps it apart, in the package python3-venv"
fi
"$venv/bin/python" -m pip install -q -r scripts/requirements.txt
echo "building Segue for $("$venv/bin/python" -V) (the first time takes a few minutes)"
wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT
"$venv/bin/python" -m maturin build -q --profile "${SEGUE_PROFILE:-release}" --compatibility linux \
    --interpreter "$venv/bin/python" --out "$wheels" ${SEGUE_FLAGS:-}
"$venv/bin/python" -m pip install -q --force-reinstall --no-deps "$wheels"/segue-*.whl
