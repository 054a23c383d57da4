#!/usr/bin/env bash
# What TLS costs: two processes on loopback (net.c), and two clusters of three nodes with a mount each, one plain and one under TLS, side by side, turn by turn in one run.
# usage: tests/bench/tls.sh [DIR]      needs bin/ and fsbench.c of BENCH_SRC; mounts, so best under `unshare -m`
set -eu
cd "$(dirname "$0")/../.."
src=${BENCH_SRC:-../shared/bench}
dir=${1:-$(mktemp -d)}
reps=${REPS:-5}
[ -f "$src/fsbench.c" ] || { echo "bench: fsbench.c is not in $src (set BENCH_SRC)" >&2; exit 2; }
cc -O2 -pthread -o "$dir/fsbench" "$src/fsbench.c"
cc -O2 -D_GNU_SOURCE -o "$dir/net" tests/bench/net.c build/release/libraftfs.a -luv -lprotobuf-c -lisal -lssl -lcrypto
cleanup() {
	for kind in plain tls; do CLUSTER=$dir/$kind/cluster.toml MOUNT=$dir/$kind/mnt scripts/down.sh >/dev/null 2>&1 || true; done
	[ -n "${KEEP:-}" ] || rm -rf "${dir:?}"
}
trap cleanup EXIT

free_port() { /usr/bin/python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])'; }
for kind in plain tls; do
	mkdir -p "$dir/$kind/mnt"
	{
		printf '[cluster]\nname = "%s"\ndata_directory = "%s/data"\n' "$kind" "$dir/$kind"
		for id in 1 2 3; do printf '[[node]]\nid = %s\nhost = "127.0.0.1"\nport = %s\n' "$id" "$(free_port)"; done
	} >"$dir/$kind/cluster.toml"
	if [ $kind = tls ]; then
		bin/raftctl --cluster "$dir/tls/cluster.toml" cert init --all "$dir/tls/certs" | sed -n '/^\[tls\]/,$p' >"$dir/table"
		cat "$dir/table" >>"$dir/tls/cluster.toml"
	fi
	CLUSTER=$dir/$kind/cluster.toml MOUNT=$dir/$kind/mnt scripts/up.sh >/dev/null
done

echo "# $(date -u +%F) $(nproc) cores, $(uname -r), commit $(git rev-parse --short HEAD 2>/dev/null || echo none), load $(cut -d' ' -f1 /proc/loadavg)"
mkdir "$dir/authority"
{
"$dir/net" "$dir/authority" "$reps"
for _ in $(seq "$reps"); do
	for workload in "-t 1 -s 2 -n 20000 -w overwrite" "-t 64 -s 2 -n 20000 -w overwrite" "-t 64 -s 2 -n 40000 -w read" "-m 32 -w seq"; do
		for kind in plain tls; do
			pids=$(cat "$dir/$kind"/data/*.pid | tr '\n' ',' | sed 's/,$//')
			# shellcheck disable=SC2086 # $workload is a list of words
			"$dir/fsbench" -d "$dir/$kind/mnt" -L $kind -P "$pids" $workload
		done
	done
done
} | tee "$dir/out.jsonl"
/usr/bin/python3 - "$dir/out.jsonl" <<'END'
import json, statistics, sys
runs = {}
for line in open(sys.argv[1]):
    if line.startswith("{"):
        r = json.loads(line)
        runs.setdefault((r["workload"], r["threads"]), {}).setdefault(r["label"], []).append(r)
print("\n| what | plain | TLS | TLS : plain | servers' CPU of an operation, TLS : plain |\n|---|---|---|---|---|")
for (workload, threads), kinds in runs.items():
    field = "mib_s" if "mib_s" in kinds["plain"][0] else "ops_s"
    plain, tls = ([r[field] for r in kinds[k]] for k in ("plain", "tls"))
    ratio = statistics.median(t / p for p, t in zip(plain, tls))
    cpu = [t["srv_cpu_us_op"] / p["srv_cpu_us_op"] for p, t in zip(kinds["plain"], kinds["tls"]) if p.get("srv_cpu_us_op")]
    print(f"| {workload} T={threads} | {statistics.median(plain):,.0f} | {statistics.median(tls):,.0f} | {ratio:.2f} | "
          f"{statistics.median(cpu) if cpu else float('nan'):.2f} |")
END
