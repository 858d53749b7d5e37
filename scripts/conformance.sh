#!/bin/sh
# conformance.sh PYTHON…: CPython's own asyncio tests on Segue, for one interpreter after the other.
#
# Each gets an environment of its own in the cache folder. Failures that the stdlib's loop shares are not counted.
# Goes on after a failure; the last line sums up, and the exit status is 0 only if nothing failed.
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || { echo "usage: conformance.sh PYTHON…" >&2; exit 2; }
cache=${XDG_CACHE_HOME:-$HOME/.cache}/segue
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$cache/target}"

failed=""
for python in "$@"; do
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    venv=$cache/venv-$version
    echo "== Python $version"
    if scripts/install.sh "$python" "$venv" && "$venv/bin/python" tests/conformance/run.py --baseline; then
        continue
    fi
    failed="$failed $version"
done
if [ -n "$failed" ]; then
    echo "conformance: failed on$failed"
    exit 1
fi
echo "conformance: nothing failed on $# interpreters"
