# shellcheck shell=bash
# A fresh Debian 12 to try things in: for scripts that source this, as root, with the network at hand.
#
#   fresh_make DIR    a copy of it below DIR: sets root. The base is kept in build/bookworm (DEBIAN_MIRROR to get it from)
#   inside CMD...     runs a command in it
#   fresh_remove      takes it away, and what is mounted in it

me=$(basename "$0" .sh)
say() { printf '%s\n' "$me: $*"; }
fail() { say "FAILED: $*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || fail "needs root"
# In a mount namespace of its own: whatever goes wrong, this machine's mounts stay as they are.
[ -n "${FRESH_NAMESPACE:-}" ] || FRESH_NAMESPACE=1 exec unshare --mount "$PWD/scripts/$me.sh" "$@"
root=""

fresh_make() { # DIR
	local base=build/bookworm
	[ -d $base ] || {
		say "debootstrap bookworm"
		mkdir -p build
		rm -rf $base.new
		debootstrap --variant=minbase bookworm $base.new "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >$base.log 2>&1 ||
			{ tail -20 $base.log >&2; exit 1; }
		mv $base.new $base
	}
	root=$(mktemp -d "$(realpath "$1")/root.XXXXXX")
	chmod 0755 "$root"
	cp -a $base/. "$root/"
	cp /etc/resolv.conf "$root/etc/" 2>/dev/null || true
	ln -sf ../proc/self/mounts "$root/etc/mtab" # as booting does it, for fusermount3; and
	mknod -m 0666 "$root/dev/fuse" c 10 229 # /dev/fuse with its usual mode
	mount -t proc proc "$root/proc"
}

inside() {
	chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive "$@"
}

fresh_remove() {
	local m
	[ -n "$root" ] || return 0
	{ grep -oE " $root/[^ ]+" /proc/self/mounts || true; } | sort -r | while read -r m; do
		umount -l "$m"
	done
	rm -rf --one-file-system "$root"
}
