#!/bin/bash
# Installs the packages of DIR in a fresh Debian 12, runs a node and a mount there, and removes them again.
# usage: scripts/test-deb.sh DIR      (root, network, /dev/fuse)
set -euo pipefail
cd "$(dirname "$0")/.."
debs=$(realpath "${1:?usage: scripts/test-deb.sh DIR}")
[ "$(id -u)" = 0 ] || { echo "scripts/test-deb.sh: needs root" >&2; exit 1; }

base=$debs/bookworm root=$(mktemp -d "$debs/root.XXXXXX")
say() { printf '%s\n' "test-deb: $*"; }
fail() { say "FAILED: $*" >&2; exit 1; }

# Once made, the base is kept: the next run begins with a copy of it.
[ -d "$base" ] || {
	say "debootstrap bookworm"
	debootstrap --variant=minbase bookworm "$base.new" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$debs/debootstrap.log" 2>&1 ||
		{ tail -20 "$debs/debootstrap.log" >&2; exit 1; }
	mv "$base.new" "$base"
}
node=
clean() {
	[ -z "$node" ] || kill -9 "$(cat "$root/var/lib/raftfs/nodes/1/LOCK")" 2>/dev/null || true
	for m in mnt/raft dev proc; do
		! mountpoint -q "$root/$m" || umount -l "$root/$m"
	done
	rm -rf --one-file-system "$root"
}
trap clean EXIT
cp -a "$base/." "$root/"
mount --bind /dev "$root/dev"
mount -t proc proc "$root/proc"
cp /etc/resolv.conf "$root/etc/" 2>/dev/null || true
cp "$debs"/*.deb "$root/tmp/"
inside() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive "$@"; }

inside find / -xdev -path /proc -prune -o -path /dev -prune -o -print | sort >"$debs/before"
say "installing"
inside apt-get -qq update
inside sh -c 'apt-get -qq -y --no-install-recommends install /tmp/raftfs_*.deb /tmp/raftd_*.deb' >"$debs/install.log" 2>&1 ||
	{ tail -30 "$debs/install.log" >&2; fail "apt-get install"; }
for p in raftd raftfs raftctl; do
	inside $p --version >/dev/null || fail "$p does not run"
done
[ "$(inside readlink -f /sbin/mount.raftfs)" = /usr/bin/raftfs ] || fail "mount.raftfs is not where mount(8) looks"
inside getent passwd raftfs >/dev/null || fail "no user raftfs"
[ "$(inside stat -c %U:%a /var/lib/raftfs)" = raftfs:750 ] || fail "/var/lib/raftfs: $(inside stat -c %U:%a /var/lib/raftfs)"

say "a node and a mount"
port=$((20000 + RANDOM % 10000))
cat >"$root/etc/raftfs/cluster.toml" <<TOML
[cluster]
name = "packaged"
data_directory = "/var/lib/raftfs/nodes"
[[node]]
id = 1
host = "127.0.0.1"
port = $port
TOML
inside setpriv --reuid raftfs --regid raftfs --clear-groups raftd --id 1 >"$debs/node.log" 2>&1 &
node=$!
inside raftctl --timeout 10 leader >/dev/null || fail "no leader: $(cat "$debs/node.log")"
inside mkdir -p /mnt/raft
inside mount -t raftfs /etc/raftfs/cluster.toml /mnt/raft -o noexec || fail "mount -t raftfs"
inside sh -c 'echo blue >/mnt/raft/color'
[ "$(inside raftctl get color)" = blue ] || fail "what was written is not there"
inside umount /mnt/raft || fail "umount"
kill "$(cat "$root/var/lib/raftfs/nodes/1/LOCK")"
wait "$node" || fail "raftd ended with $?"
node=

say "removing"
inside apt-get -qq -y purge raftfs raftd >"$debs/remove.log" 2>&1 || { tail -30 "$debs/remove.log" >&2; fail "apt-get purge"; }
[ -d "$root/var/lib/raftfs/nodes/1" ] || fail "a purge took the data away"
rm -r "$root/var/lib/raftfs" "$root/etc/raftfs"
inside apt-get -qq -y autoremove --purge >>"$debs/remove.log" 2>&1
left=$(inside find / -xdev -path /proc -prune -o -path /dev -prune -o -print | sort | comm -13 "$debs/before" - | grep -E 'raft' |
	grep -vE '^/tmp/|^/mnt/raft$|^/var/cache/apt/' || true)
[ -z "$left" ] || fail "left behind: $left"
say "installed, used and removed"
