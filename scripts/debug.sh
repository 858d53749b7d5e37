#!/bin/sh
# debug.sh PYTHON: the tests with everything switched on that finds memory errors and broken assumptions.
#
#   the core: debug assertions and overflow checks (also in what it takes for granted: unwrap_unchecked and the like)
#   Python's allocator: PYTHONMALLOC=debug (guard bytes, freed memory overwritten) and -X dev
#   the C allocator, which the core uses: glibc's checking one, and freed memory overwritten
set -eu
cd "$(dirname "$0")/.."
python=$1
cache=${XDG_CACHE_HOME:-$HOME/.cache}/segue
venv=$cache/venv-debug
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$cache/target}-debug"
export CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true
export CARGO_PROFILE_RELEASE_LTO=false CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
scripts/install.sh "$python" "$venv"
"$venv/bin/pip" install -q -r tests/requirements.txt

export PYTHONMALLOC=debug PYTHONDEVMODE=1 MALLOC_PERTURB_=165 RUST_BACKTRACE=1
checker=$(find /usr/lib /lib -name libc_malloc_debug.so.0 2>/dev/null | head -1)
if [ -n "$checker" ]; then
    export LD_PRELOAD="$checker" GLIBC_TUNABLES=glibc.malloc.check=3
else
    echo "debug.sh: libc_malloc_debug.so.0 is missing (part of glibc 2.34 and later): going on without it" >&2
fi
"$venv/bin/python" scripts/test.py --only tests
