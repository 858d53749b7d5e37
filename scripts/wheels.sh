#!/bin/sh
# wheels.sh PYTHON…: builds a manylinux wheel for each interpreter into dist/, then installs and tries each of them.
#
# Linked by zig against glibc 2.17, so that a wheel built here runs on older systems; maturin audits that it does.
# The trial is in a fresh environment without cargo or a compiler on the PATH: what a user gets from an index.
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || { echo "usage: wheels.sh PYTHON…" >&2; exit 2; }
cache=${XDG_CACHE_HOME:-$HOME/.cache}/segue
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$cache/target}"
tools=$cache/wheel-tools
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ ! -x "$tools/bin/maturin" ]; then
    "$1" -m venv "$tools"
    "$tools/bin/pip" install -q 'maturin[zig]>=1.9,<2'
fi

passed=0 failed=0
for python in "$@"; do
    version=$("$python" -V)
    echo "== $version"
    out=$work/$(basename "$(mktemp -u)")
    if ! PATH="$tools/bin:$PATH" "$tools/bin/maturin" build -q --release --zig --compatibility manylinux2014 \
        --interpreter "$python" --out "$out"; then
        failed=$((failed + 1))
        continue
    fi
    mkdir -p dist
    cp "$out"/*.whl dist/
    "$python" -m venv "$out/venv"
    "$out/venv/bin/pip" install -q "$out"/segue-*.whl -r tests/requirements.txt
    # No cargo, no compiler, no source tree: only the environment and the system's own commands.
    bare="env -i HOME=$work LANG=C.UTF-8 PATH=$out/venv/bin:/usr/bin:/bin"
    if $bare sh -c 'command -v cargo'; then
        echo "wheels.sh: cargo is in /usr/bin: this can't show that the wheel does without it" >&2
        exit 1
    fi
    if $bare segue info && $bare python scripts/try_wheel.py && $bare python -m pytest tests/cli -p no:cacheprovider; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
    fi
done
ls -l dist
echo "wheels: $passed passed, $failed failed"
[ "$failed" = 0 ]
