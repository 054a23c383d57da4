#!/bin/sh
# Starts the nodes of a cluster on this machine, and mounts it. Behind `make up`.
# What runs already stays as it is, what is missing is started: twice in a row is fine.
set -u
# shellcheck source=scripts/running.sh
. "$(dirname "$0")/running.sh"

START_MS=15000

show_log() { # FILE
	[ -s "$1" ] || return 0
	say "--- the end of $1" >&2
	tail -n 15 "$1" >&2
	say "---" >&2
}

start_node() { # ID
	(cd / && exec setsid "$bin/raftd" --cluster "$cluster" --id "$1") </dev/null >>"$data/raftd-$1.log" 2>&1 &
	say $! >"$data/raftd-$1.pid"
	started="$started $1"
}

has_ended() { # PID
	! grep -q '^State:[[:space:]]*[^ZX]' "/proc/$1/status" 2>/dev/null
}

# A node that has ended at once has said why.
check_started() {
	for id in $started; do
		has_ended "$(recorded_pid "$id")" || continue
		rm -f "$data/raftd-$id.pid"
		show_log "$data/raftd-$id.log"
		fail "node $id did not start; the reason should stand above. The others keep running ('make down' stops them)."
	done
}

# Every node answers and a majority agrees on a leader. Sets leader.
# shellcheck disable=SC2317 # called by wait_until
is_ready() {
	check_started
	leader=$("$bin/raftctl" --cluster "$cluster" --timeout 0.5 leader 2>/dev/null) || return 1
	[ "$("$bin/raftctl" --cluster "$cluster" status 2>/dev/null | grep -c ' yes$')" -ge "$(printf '%s\n' "$nodes" | wc -l)" ]
}

start_nodes() {
	started=
	mkdir -p "$data" || exit 1
	while read -r id _; do
		[ -n "$(node_pid "$id")" ] || start_node "$id"
	done <<-LIST
		$nodes
	LIST
	leader=
	wait_until $START_MS is_ready && return
	for id in $started; do
		show_log "$data/raftd-$id.log"
	done
	"$bin/raftctl" --cluster "$cluster" status >&2
	[ -n "$leader" ] || fail "the nodes have found no leader within $((START_MS / 1000)) s"
	fail "not every node answers within $((START_MS / 1000)) s"
}

record_mount() {
	grep -Fxq -e "$mount" "$data/mounts" 2>/dev/null || printf '%s\n' "$mount" >>"$data/mounts"
}

mount_it() {
	there=$(mounted "$mount")
	case $there in
	"fuse.raftfs raftfs:$name") answers "$mount" && record_mount && return ;;
	"fuse.raftfs "*) answers "$mount" && fail "$mount: another cluster is mounted there (${there#* }); unmount it, or set MOUNT" ;;
	*) mkdir -p "$mount" || exit 1 ;;
	esac
	[ -e /dev/fuse ] || fail "/dev/fuse is missing, so nothing can be mounted. The nodes run: try
  $bin/raftctl --cluster $cluster status
Load it with 'modprobe fuse'; a container needs '--device /dev/fuse --cap-add SYS_ADMIN'."
	{ [ -r /dev/fuse ] && [ -w /dev/fuse ]; } || fail "$(id -un) may not open /dev/fuse, so nothing can be mounted. The nodes run.
As root: chmod 0666 /dev/fuse (the usual mode); then 'make up' again."
	# Recorded first: whatever happens now, down.sh looks there.
	record_mount
	log=$data/raftfs.log
	case $log in *,*) log=/dev/null ;; esac # a comma would end the option
	# An ordinary user's own cluster: its root directory would be root's, who is not here.
	mine=
	[ "$(id -u)" -eq 0 ] || mine=,uid=$(id -u),gid=$(id -g)
	"$bin/raftfs" "$mount" --cluster "$cluster" -o "logfile=$log$mine" </dev/null || {
		status=$?
		show_log "$log"
		say "$me: mounting $mount failed; the nodes keep running ('make down' stops them)" >&2
		exit "$status"
	}
}

read_cluster
mount=$(mkdir -p "$(dirname "${MOUNT:-$root/mnt}")" && absolute "${MOUNT:-$root/mnt}") || exit 1
start_nodes
mount_it
stop_with=
[ "$cluster" = "$root/cluster.toml" ] || stop_with=" CLUSTER=$cluster"
cat <<END
The cluster '$name' is up.
  leader   node ${leader%% *} at ${leader#* }
  mount    $mount
  logs     $data/raftd-*.log
Try:   echo blue > $mount/color && $bin/raftctl --cluster $cluster get color
Stop:  make down$stop_with
END
