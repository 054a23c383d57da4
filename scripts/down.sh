#!/bin/sh
# Undoes what up.sh did: unmounts, and stops the nodes. Behind `make down`. Data and logs stay.
# What is down already is no error: twice in a row is fine.
set -u
# shellcheck source=scripts/running.sh
. "$(dirname "$0")/running.sh"

STOP_MS=10000
status=0

# shellcheck disable=SC2317 # called by wait_until
no_mount() { ! is_our_mount "$1"; }
# shellcheck disable=SC2317
no_raftfs() { [ -z "$(pids_of raftfs "$cluster" "$1")" ]; }
# shellcheck disable=SC2317
no_node() { ! is_ours "$1" raftd "$cluster"; }

# The kernel's own way; fusermount3 also for those who are not root.
unmount() { # PATH OPTION...
	path=$1
	shift
	if command -v fusermount3 >/dev/null; then
		fusermount3 -u "$@" -- "$path"
	elif [ $# -gt 0 ]; then
		umount -l -- "$path"
	else
		umount -- "$path"
	fi
}

signal_all() { # SIGNAL PATH
	for pid in $(pids_of raftfs "$cluster" "$2"); do
		kill "-$1" "$pid" 2>/dev/null
	done
}

# Politely; then through raftfs itself, which also lets go of a mount that is in use; then by force.
remove_mount() { # PATH
	if is_our_mount "$1"; then
		unmount "$1" 2>/dev/null || {
			say "$1 is in use: detaching it"
			signal_all TERM "$1"
		}
		wait_until $STOP_MS no_mount "$1" || unmount "$1" -z
		say "unmounted $1"
	fi
	wait_until $STOP_MS no_raftfs "$1" && return
	say "raftfs of $1 does not end: killing it"
	signal_all KILL "$1"
	wait_until $STOP_MS no_raftfs "$1" || { say "$me: it still runs" >&2; status=1; }
}

remove_mounts() {
	[ ! -f "$data/mounts" ] || while read -r path; do
		remove_mount "$path" </dev/null
	done <"$data/mounts"
	# The one that is meant, however it was mounted.
	[ -z "$mount" ] || remove_mount "$mount"
	rm -f "$data/mounts"
}

# Who keeps the nodes running ('raftctl cluster start') ends them itself, and must not start them again.
# shellcheck disable=SC2317
no_supervisor() { ! is_ours "$1" raftctl start; }
stop_supervisor() {
	pid=$(cat "$data/supervisor.pid" 2>/dev/null)
	case $pid in '' | *[!0-9]*) return ;; esac
	is_ours "$pid" raftctl start || return
	kill -TERM "$pid" || fail "the nodes are kept running by pid $pid, which cannot be ended; try sudo"
	wait_until $((STOP_MS + 2000)) no_supervisor "$pid" || kill -KILL "$pid" 2>/dev/null
	say "ended 'raftctl cluster start' and its nodes"
}

stop_nodes() {
	pids=
	for file in "$data"/raftd-*.pid; do
		id=${file##*/raftd-}
		id=${id%.pid}
		pid=$(recorded_pid "$id") || continue
		if is_ours "$pid" raftd "$cluster" "$id"; then
			kill -TERM "$pid" && kill -CONT "$pid" # also one that was stopped
			pids="$pids $pid"
		elif [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = raftd ] && ! readlink "/proc/$pid/exe" >/dev/null; then
			fail "node $id, pid $pid, runs as another user; try sudo"
		fi
	done
	for pid in $pids; do
		wait_until $STOP_MS no_node "$pid" && continue
		say "raftd with pid $pid does not end: killing it"
		kill -KILL "$pid" 2>/dev/null
		wait_until $STOP_MS no_node "$pid" || { say "$me: it still runs" >&2; status=1; }
	done
	rm -f "$data"/raftd-*.pid
	[ -z "$pids" ] || say "stopped $(printf '%s\n' "$pids" | wc -w) nodes; the data stays in $data"
}

read_cluster
mount=$(absolute "${MOUNT:-$root/mnt}") || mount=
remove_mounts
stop_supervisor
stop_nodes
exit $status
