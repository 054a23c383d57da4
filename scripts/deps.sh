#!/bin/sh
# Installs the Debian or Ubuntu packages that are missing, and nothing else.
#
# usage: scripts/deps.sh [build] [test] [heavy] [dev] [web] [deb]      (build without arguments)
#   build  what `make all` needs: compilers and libraries, and fuse3 to mount
#   test   what `make test` needs on top: the check library and the tools that the tests run in a mount
#   heavy  what `make heavy` needs on top: the programs that it runs in a mount
#   web    what `make test-web` needs on top: a browser
#   deb    what `make deb` and `make test-deb` need on top
#   dev    what `make tidy`, `cov`, `fuzz` and friends need on top
# Says nothing and takes a moment when everything is there. Why each library was chosen: vendor/README.md.
set -u

BUILD="build-essential protobuf-c-compiler libprotobuf-c-dev libuv1-dev libfuse3-dev fuse3
	librocksdb-dev libisal-dev libxxhash-dev libtomlplusplus-dev uthash-dev libjansson-dev
	libedit-dev libncurses-dev libmicrohttpd-dev libarchive-dev libssl-dev"
TEST="acl check python3 sqlite3 rsync git tar attr util-linux iproute2 tmux"
HEAVY="acl fio nfs-ganesha-vfs libnfs-utils postgresql stress-ng vim"
WEB="chromium"
DEB="debhelper dpkg-dev fakeroot lintian debootstrap systemd-container"
DEV="clang clang-tidy clang-format clang-tools libclang-rt-dev cppcheck lcov valgrind shellcheck"

fail() {
	echo "scripts/deps.sh: $*" >&2
	exit 1
}

wanted=
[ $# -gt 0 ] || set -- build
for group in "$@"; do
	case $group in
	build) wanted="$wanted $BUILD" ;;
	test) wanted="$wanted $TEST" ;;
	heavy) wanted="$wanted $HEAVY" ;;
	web) wanted="$wanted $WEB" ;;
	deb) wanted="$wanted $DEB" ;;
	dev) wanted="$wanted $DEV" ;;
	*)
		echo "usage: scripts/deps.sh [build] [test] [heavy] [dev] [web] [deb]" >&2
		exit 2
		;;
	esac
done

# Packages of the list that are not installed. dpkg-query names only those it knows.
missing() {
	# shellcheck disable=SC2086 # a list of words
	dpkg-query -W -f '${db:Status-Status} ${Package}\n' $wanted 2>/dev/null |
		awk -v wanted="$wanted" '
			$1 == "installed" { have[$2] = 1 }
			END {
				n = split(wanted, w, /[ \t\n]+/)
				for (i = 1; i <= n; i++)
					if (w[i] != "" && !have[w[i]]++)
						printf "%s ", w[i]
			}'
}

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
	fail "this is no Debian or Ubuntu; install by hand what these packages hold:
$(echo "$wanted" | tr -s ' \t\n' ' ')"
fi
packages=$(missing)
[ -n "$packages" ] || exit 0

if [ "$(id -u)" -eq 0 ]; then
	as_root=
elif command -v sudo >/dev/null; then
	as_root=sudo
else
	fail "these packages are missing, and there is no sudo to install them with. As root:
  apt-get install $packages"
fi

# shellcheck disable=SC2086 # $as_root may be empty, $packages is a list
install() {
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update >"$log" 2>&1
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y \
		-o DPkg::Lock::Timeout=120 --no-install-recommends install $packages >>"$log" 2>&1
}

log=$(mktemp) || fail "no temporary file"
trap 'rm -f "$log"' EXIT
echo "installing: $packages"
# Mirrors fail for a moment now and then: one more attempt.
install || { sleep 2 && install; } || {
	tail -15 "$log" >&2
	fail "apt-get could not install: $packages
Look at its words above; afterwards 'make' goes on from here."
}
packages=$(missing)
[ -z "$packages" ] || fail "apt-get ended well, but these are still missing: $packages"
