#!/bin/sh
# A Debian sid tree with the interpreters that this machine hasn't: made once, then entered with chroot.
#
#     scripts/sid.sh make DIR             make the tree (debootstrap; needs root) with python3.14 and python3.15
#     scripts/sid.sh run DIR COMMAND…     run a command in it, in this folder, with the home folder and caches shared
#     scripts/sid.sh remove DIR           delete the tree
#
# The mirror is the one this machine's own apt uses. Mounts live in a namespace of their own and end with the command,
# so that nothing is left mounted and removing the tree can't reach outside it.
set -eu

die() {
    echo "sid.sh: $*" >&2
    exit 1
}

PYTHONS="python3.14-dev,python3.14-venv,python3.15-dev,python3.15-venv"
PACKAGES="$PYTHONS,gcc,libc6-dev,ca-certificates"

# The address of Debian's main archive among apt's sources.
mirror() {
    apt-get indextargets --format '$(CODENAME) $(ORIGIN) $(REPO_URI)' 'Created-By: Packages' |
        awk '$2 == "Debian" && $1 !~ /-/ { print $3; exit }'
}

# Files that tell programs where the network is and whom to trust, as they are on this machine.
copy_settings() {
    for file in /etc/pip.conf /etc/resolv.conf /etc/hosts "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}"; do
        [ -e "$file" ] || continue
        mkdir -p "$1$(dirname "$file")"
        cp -L "$file" "$1$file"
    done
}

make_tree() {
    tree=$1
    [ -e "$tree/.complete" ] && return
    [ "$(id -u)" = 0 ] || die "making the tree needs root"
    command -v debootstrap >/dev/null || die "debootstrap is missing: apt-get install debootstrap"
    archive=$(mirror)
    [ -n "$archive" ] || die "apt has no source of Debian's main archive: run apt-get update"
    rm -rf "$tree"
    mkdir -p "$(dirname "$tree")"
    echo "sid.sh: making $tree (a few minutes, 800 MB)"
    debootstrap --variant=minbase --include="$PACKAGES" sid "$tree" "$archive" ||
        die "debootstrap failed; its log is $tree/debootstrap/debootstrap.log"
    copy_settings "$tree"
    # CPython's own tests, each where Debian has them.
    for version in 3.14 3.15; do
        inside "$tree" / apt-get install -y -qq --no-install-recommends "libpython$version-testsuite" ||
            echo "sid.sh: no package libpython$version-testsuite: CPython's tests will not run on $version"
    done
    touch "$tree/.complete"
}

# inside TREE FOLDER COMMAND…
inside() {
    tree=$1 folder=$2
    shift 2
    # shellcheck disable=SC2016  # expanded by the inner shell
    unshare --mount --propagation private sh -euc '
        tree=$1 folder=$2
        shift 2
        mount -t proc proc "$tree/proc"
        mount --rbind /dev "$tree/dev"
        for shared in "$HOME" "$folder"; do
            [ "$shared" = / ] && continue
            mkdir -p "$tree$shared"
            mount --bind "$shared" "$tree$shared"
        done
        export PATH="$HOME/.cargo/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" DEBIAN_FRONTEND=noninteractive
        exec chroot "$tree" sh -c '\''cd "$1" && shift && exec "$@"'\'' - "$folder" "$@"
    ' - "$tree" "$folder" "$@"
}

[ $# -ge 2 ] || die "usage: sid.sh make|run|remove DIR [COMMAND…]"
verb=$1 tree=$2
shift 2
case $verb in
make) make_tree "$tree" ;;
run)
    [ -e "$tree/.complete" ] || die "no tree in $tree: run $0 make $tree"
    copy_settings "$tree"
    inside "$tree" "$PWD" "$@"
    ;;
remove) rm -rf --one-file-system "$tree" ;;
*) die "unknown verb $verb" ;;
esac
