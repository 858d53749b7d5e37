#!/bin/sh
# Installs the real servers that tests/ecosystem talks to, and the browser, tmux and valgrind that tests/seeing uses (Debian packages),
# if they are missing.
# The packages' own services are not used: the tests start private processes on free ports.
# Run as root, or it will say what to install.
set -eu

missing=""
command -v tmux >/dev/null 2>&1 || missing="$missing tmux"
command -v valgrind >/dev/null 2>&1 || missing="$missing valgrind"
command -v redis-server >/dev/null 2>&1 || missing="$missing redis-server"
[ -n "$(ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null)" ] || missing="$missing postgresql"
{ command -v nginx || [ -x /usr/sbin/nginx ]; } >/dev/null 2>&1 || missing="$missing nginx-light"
{ command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null 2>&1 ||
    missing="$missing chromium fonts-dejavu-core"

if [ -z "$missing" ]; then
    echo "servers and the browser for the tests: all there"
    exit 0
fi
if [ "$(id -u)" != 0 ]; then
    echo "the tests need these Debian packages; install them as root:" >&2
    echo "    apt-get install --no-install-recommends$missing" >&2
    exit 1
fi

# A policy-rc.d that refuses keeps the packages from starting their own services while they are installed.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086  # word splitting is wanted: one word is one package
apt-get install -y -qq --no-install-recommends $missing
