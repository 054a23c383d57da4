#!/bin/bash
# Installs the packages of DIR in a fresh Debian 12, runs a node and a mount there, and removes them again: first without
# systemd, then with one that is booted, where units, upgrade and removal are tried on a cluster of three.
# usage: scripts/test-deb.sh DIR      (root, network, /dev/fuse)
set -euo pipefail
cd "$(dirname "$0")/.."
debs=$(realpath "${1:?usage: scripts/test-deb.sh DIR}")
# shellcheck source=scripts/fresh.sh
. scripts/fresh.sh

node="" machine="" init=""
clean() {
	[ -z "$node" ] || kill -9 "$(cat "$root/var/lib/raftfs/nodes/1/LOCK")" 2>/dev/null || true
	[ -z "$init" ] || kill -9 "$init" 2>/dev/null || true
	[ -z "$machine" ] || wait "$machine" || true
	find /sys/fs/cgroup -path '*/raftfs-test*' -depth -type d -exec rmdir {} + 2>/dev/null || true
	fresh_remove
}
trap clean EXIT
fresh_make "$debs"
cp "$debs"/raft{fs,d}_*.deb "$root/srv/"
packages=("$root"/srv/*.deb)
packages=("${packages[@]#"$root"}")

# ---- without systemd ----

files() { inside find / -xdev \( -path /proc -o -path /dev -o -path /tmp -o -path /srv -o -path /var/cache \) -prune -o -print | sort; }

apt() { # LOG ARGUMENT...
	local log=$debs/$1
	shift
	inside apt-get -qq -y --no-install-recommends "$@" >"$log" 2>&1 || { tail -30 "$log" >&2; fail "apt-get $*"; }
}

nothing_is_left() {
	local left
	[ -d "$root/var/lib/raftfs/nodes/1" ] || fail "a purge took the data away"
	rm -r "$root/var/lib/raftfs" "$root/etc/raftfs"
	left=$(files | comm -13 "$debs/before" - | grep raft | grep -vx /mnt/raft || true)
	[ -z "$left" ] || fail "left behind: $left"
}

files >"$debs/before"
say "installing"
inside apt-get -qq update
apt install.log install "${packages[@]}"
for p in raftd raftfs raftctl; do
	inside $p --version >/dev/null || fail "$p does not run"
done
[ "$(inside readlink -f /sbin/mount.raftfs)" = /usr/bin/raftfs ] || fail "mount.raftfs is not where mount(8) looks"
inside getent passwd raftfs >/dev/null || fail "no user raftfs"
[ "$(inside stat -c %U:%a /var/lib/raftfs)" = raftfs:750 ] || fail "/var/lib/raftfs: $(inside stat -c %U:%a /var/lib/raftfs)"

cluster_file() { # PORT...
	local id=0 port
	printf '%s\n' '[cluster]' 'name = "packaged"' 'data_directory = "/var/lib/raftfs/nodes"'
	for port; do
		id=$((id + 1))
		printf '%s\n' '[[node]]' "id = $id" 'host = "127.0.0.1"' "port = $port"
	done
}

say "a node and a mount"
cluster_file $((20000 + RANDOM % 10000)) >"$root/etc/raftfs/cluster.toml"
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
node=""

say "removing"
apt remove.log purge raftfs raftd
apt remove.log autoremove --purge
nothing_is_left

# ---- with systemd ----

# What nspawn finds where a systemd is outside: /run in memory, and a group of its own that it makes groups below.
stand_in() {
	local at
	mkdir -p /run/systemd
	mount -t tmpfs tmpfs /run/systemd
	for at in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
		[ -w $at/cgroup.procs ] || continue
		mkdir -p $at/raftfs-test
		echo $BASHPID >$at/raftfs-test/cgroup.procs
	done
}

boot() {
	local alone=()
	[ -d /run/systemd/system ] || alone=(--register=no --keep-unit)
	{
		[ -d /run/systemd/system ] || stand_in
		exec systemd-nspawn -q -b -D "$root" "${alone[@]}" --private-network --bind=/dev/fuse --console=read-only
	} </dev/null >"$debs/console.log" 2>&1 &
	machine=$!
	until_true "the system to be up" is_up
}

shut_down() {
	booted poweroff
	wait "$machine" || fail "the machine ended with $?"
	machine="" init=""
}

# Its first process; another one after each boot.
find_init() {
	init=$(cat "/proc/$machine/task/$machine/children" 2>/dev/null) && init=${init%% *} && [ -n "$init" ]
}
booted() {
	nsenter -t "$init" -m -u -i -n -p -r -w /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive "$@"
}
unit() { booted systemctl "$@"; }
is() { [ "$(unit show -P "$2" "$1")" = "$3" ]; } # UNIT PROPERTY VALUE

until_true() { # WHAT COMMAND...
	local what=$1 end=$((SECONDS + 60))
	shift
	until "$@" 2>/dev/null; do
		[ $SECONDS -lt $end ] || { tail -15 "$debs/console.log" >&2; booted journalctl -n 30 --no-pager >&2 || true; fail "waited in vain for: $what"; }
		kill -0 "$machine" 2>/dev/null || { tail "$debs/console.log" >&2; fail "the machine has gone while waiting for: $what"; }
		sleep 0.1
	done
}
is_up() { find_init && case $(unit is-system-running) in running | degraded) ;; *) false ;; esac; }

say "booting systemd"
apt systemd.log install systemd systemd-sysv dbus
files >"$debs/before"
apt install.log install "${packages[@]}"
cluster_file 7001 7002 7003 >"$root/etc/raftfs/cluster.toml"
cp "$root/usr/share/doc/raftfs/examples/mnt-raft.mount" "$root/etc/systemd/system/"
umount "$root/proc"
boot

say "units"
unit start --no-block raftd@1
until_true "raftd@1 to say that it waits" is raftd@1 StatusText "waits for a quorum"
is raftd@1 ActiveState activating || fail "raftd@1 is $(unit is-active raftd@1) without a leader"
unit start raftd@2 || fail "systemctl start raftd@2"
until_true "raftd@1 to be active" is raftd@1 ActiveState active
unit start raftd@3
unit show -P StatusText raftd@{1,2,3} | grep -qx leads || fail "no node says that it leads"
booted journalctl --no-pager -u raftd@1 | grep -q 'leader of term' || fail "the journal does not tell of the election"
unit start mnt-raft.mount || fail "systemctl start mnt-raft.mount"
booted sh -c 'echo green >/mnt/raft/color'
[ "$(booted raftctl get color)" = green ] || fail "what was written is not there"
unit kill -s KILL raftd@1
until_true "raftd@1 to be started again" is raftd@1 NRestarts 1
until_true "raftd@1 to be active again" is raftd@1 ActiveState active
unit stop raftd@1
{ is raftd@1 Result success && is raftd@1 ExecMainStatus 0 && is raftd@1 ActiveState inactive; } || fail "raftd@1 did not stop cleanly"
echo 'surely = "not a key"' >>"$root/etc/raftfs/cluster.toml"
! unit start raftd@1 2>/dev/null || fail "raftd@1 starts with a wrong configuration"
sleep 2
is raftd@1 NRestarts 0 || fail "raftd@1 is started again and again with a wrong configuration"
sed -i '$d' "$root/etc/raftfs/cluster.toml"
unit reset-failed raftd@1
unit start raftd@1

say "upgrade"
pids=$(unit show -P MainPID raftd@{1,2,3})
booted apt-get -qq -y install --reinstall "${packages[@]}" >"$debs/upgrade.log" 2>&1 || { cat "$debs/upgrade.log" >&2; fail "reinstalling"; }
[ "$(unit show -P MainPID raftd@{1,2,3})" = "$pids" ] || fail "an upgrade restarts nodes"
[ "$(booted cat /mnt/raft/color)" = green ] || fail "the mount is not what it was after an upgrade"

say "reboot"
unit -q enable raftd@{1,2,3} mnt-raft.mount
since=$(booted date +%T)
shut_down
boot
[ "$(booted cat /mnt/raft/color)" = green ] || fail "what was written is gone after a reboot"
order() { # FIRST THEN JOURNALCTL-ARGUMENT...: whether each line with FIRST stands before any with THEN
	local first=$1 then=$2
	shift 2
	booted journalctl --no-pager -o cat "$@" |
		awk -v a="$first" -v b="$then" 'index($0, a) == 1 { last = NR } index($0, b) == 1 && !next_one { next_one = NR } END { exit !(last && last < next_one) }'
}
order "Unmounted mnt-raft" "Stopping raftd@" -b -1 --since "$since" || fail "nodes were stopped before the mount was gone"
order "Started raftd@" "Mounted mnt-raft" -b 0 || fail "mounted before the nodes had started"

say "removing"
unit disable -q raftd@{1,2,3} mnt-raft.mount
unit stop mnt-raft.mount
rm "$root/etc/systemd/system/mnt-raft.mount"
booted apt-get -qq -y purge raftfs raftd >"$debs/remove.log" 2>&1 || { tail -30 "$debs/remove.log" >&2; fail "apt-get purge"; }
! unit is-active -q raftd@1 || fail "a node still runs after the purge"
shut_down
mount -t proc proc "$root/proc"
nothing_is_left
say "installed, used and removed; booted, rebooted, upgraded and removed"
