#!/usr/bin/env bash
# The mount beside the machine's own floor, in one run on the same disk: figures for docs/results.md.
# usage: tests/bench/run.sh [DIR]      needs bin/ and the bench programs of BENCH_SRC (fsbench.c, tcpbench.c)
set -eu
cd "$(dirname "$0")/../.."
src=${BENCH_SRC:-../shared/bench}
dir=${1:-$(mktemp -d)}
out=$dir/out.jsonl
[ -f "$src/fsbench.c" ] && [ -f "$src/tcpbench.c" ] || {
	echo "bench: fsbench.c and tcpbench.c are not in $src (set BENCH_SRC)" >&2
	exit 2
}
cc -O2 -pthread -o "$dir/fsbench" "$src/fsbench.c"
cc -O2 -o "$dir/tcpbench" "$src/tcpbench.c"
mkdir -p "$dir/mnt" "$dir/ext4"
cleanup() {
	CLUSTER=$dir/cluster.toml MOUNT=$dir/mnt scripts/down.sh >/dev/null 2>&1 || true
	[ -n "${KEEP:-}" ] || rm -rf "$dir"
}
trap cleanup EXIT

free_port() { /usr/bin/python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])'; }
{
	printf '[cluster]\nname = "bench"\ndata_directory = "%s/data"\n' "$dir"
	printf '[raft]\nelection_timeout_ms = { min = 150, max = 300 }\nheartbeat_interval_ms = 50\n'
	for id in 1 2 3; do printf '[[node]]\nid = %s\nhost = "127.0.0.1"\nport = %s\n' "$id" "$(free_port)"; done
} >"$dir/cluster.toml"
CLUSTER=$dir/cluster.toml MOUNT=$dir/mnt scripts/up.sh >/dev/null
pids=$(cat "$dir"/data/*.pid | tr '\n' ',' | sed 's/,$//')

echo "# $(date -u +%F) $(nproc) cores, $(uname -r), commit $(git rev-parse --short HEAD 2>/dev/null || echo none)"
bench() {
	"$dir/fsbench" -d "$dir/mnt" -L raftfs -P "$pids" "$@"
}
{
	for rep in 1 2 3; do
		"$dir/tcpbench" raft "$dir/ext4" 128 1 4000 append
		"$dir/tcpbench" raft "$dir/ext4" 128 64 2000 append
		bench -t 1 -s 3 -n 20000 -w overwrite
		bench -t 64 -s 3 -n 20000 -w overwrite
	done
	bench -t 1 -s 2 -w create,replace,append,read,stat,rename,unlink
	bench -t 16 -s 2 -n 20000 -w overwrite
	bench -t 64 -s 2 -n 10000 -w create,append,read,stat
	bench -m 64 -w seq
	"$dir/fsbench" -d "$dir/ext4" -L ext4 -t 1 -s 2 -w overwrite_fsync
} | tee "$out"
/usr/bin/python3 tests/bench/ratios.py "$out"
