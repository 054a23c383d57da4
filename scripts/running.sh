# shellcheck shell=sh
# What up.sh and down.sh share: which cluster, which processes are its own, what is mounted where. Sourced.
#
# environment: CLUSTER (cluster.toml of the tree), MOUNT (./mnt of the tree), RAFTFS_BIN (bin/ of the tree)
#
# What up.sh started is recorded beside the nodes' data: raftd-N.pid, raftd-N.log, raftfs.log, and in `mounts`
# the mount points, one a line. A pid is believed only while the process behind it is that program, started
# for that cluster file. 'raftctl cluster start' keeps the same files, and its own pid in supervisor.pid.

root=$(cd "$(dirname "$0")/.." && pwd -P) || exit 1
bin=$(readlink -f "${RAFTFS_BIN:-$root/bin}")
me=${0##*/}

say() { printf '%s\n' "$*"; }
fail() { printf '%s: %s\n' "$me" "$*" >&2; exit 1; }

# An absolute path without symbolic links on the way. The last component is not looked at: a dead mount may
# stand there.
absolute() { # PATH
	(
		path=${1%/}
		parent=$(cd "$(dirname "$path")" 2>/dev/null && pwd -P) || exit 1
		[ "$parent" = / ] && parent=
		printf '%s/%s\n' "$parent" "${path##*/}"
	)
}

# Sets cluster, name, data, and nodes: "ID HOST:PORT" lines. Ends the script if the file is bad.
# shellcheck disable=SC2034 # used by those who source this
read_cluster() {
	cluster=$(absolute "${CLUSTER:-$root/cluster.toml}") || fail "${CLUSTER:-}: no such folder"
	[ -x "$bin/raftctl" ] || fail "$bin/raftctl is missing: run make first"
	facts=$("$bin/raftctl" config check "$cluster") || exit 2
	name=$(printf '%s\n' "$facts" | sed -n 's/^cluster //p')
	data=$(printf '%s\n' "$facts" | sed -n 's/^data_directory //p')
	nodes=$(printf '%s\n' "$facts" | sed -n 's/^node //p')
}

# ---- processes ----

# Whether the process is PROGRAM (also if that was built anew meanwhile) and has every WORD on its command
# line. One that has ended has no exe any more, also while nobody has collected it.
is_ours() { # PID PROGRAM WORD...
	case $(readlink "/proc/$1/exe" 2>/dev/null) in
	*"/$2" | *"/$2 (deleted)") ;;
	*) return 1 ;;
	esac
	line=$(tr '\0' '\n' 2>/dev/null <"/proc/$1/cmdline")
	shift 2
	for word in "$@"; do
		printf '%s\n' "$line" | grep -Fxq -e "$word" || return 1
	done
}

# The processes of which that is true.
pids_of() { # PROGRAM WORD...
	for proc in /proc/[0-9]*; do
		is_ours "${proc#/proc/}" "$@" && say "${proc#/proc/}"
	done
}

recorded_pid() { # ID
	pid=$(cat "$data/raftd-$1.pid" 2>/dev/null)
	case $pid in '' | *[!0-9]*) return 1 ;; esac
	say "$pid"
}

# The pid of node ID if it runs.
node_pid() { # ID
	pid=$(recorded_pid "$1") && is_ours "$pid" raftd "$cluster" "$1" && say "$pid"
}

now_ms() { # monotonic
	awk '{ printf "%d\n", $1 * 1000 }' /proc/uptime
}

# Wait until COMMAND succeeds.
wait_until() { # MILLISECONDS COMMAND ARGUMENT...
	wait_end=$(($(now_ms) + $1))
	shift
	until "$@"; do
		[ "$(now_ms)" -lt "$wait_end" ] || return 1
		sleep 0.05
	done
}

# ---- mounts ----

# "TYPE SOURCE" of what is mounted on PATH, nothing if nothing is. Does not touch the mount.
mounted() { # PATH
	WANTED=$(printf '%s' "$1" | sed 's/\\/\\134/g; s/ /\\040/g; s/	/\\011/g') awk '
		$5 == ENVIRON["WANTED"] {
			for (i = 7; i < NF && $i != "-"; i++)
				;
			found = $(i + 1) " " $(i + 2)
		}
		END { if (found != "") print found }' /proc/self/mountinfo
}

# Whether a mount of this cluster is there, alive or dead.
is_our_mount() { # PATH
	[ "$(mounted "$1")" = "fuse.raftfs raftfs:$name" ]
}

# Whether the mount answers, itself: this needs neither nodes nor a quorum.
answers() { # PATH
	timeout 5 cat "$1/.raft/version" >/dev/null 2>&1
}
