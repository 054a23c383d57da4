"""Medians over the runs of tests/bench/run.sh, and the mount's ratio to the floor."""
import json
import statistics
import sys

runs = {}
for line in open(sys.argv[1]):
    if not line.startswith("{"):
        continue
    r = json.loads(line)
    key = r.get("bench") or f"{r['label']} {r['workload']} T={r['threads']}"
    runs.setdefault(key, []).append(r)


def median(key, field):
    values = [r[field] for r in runs.get(key, []) if field in r]
    return statistics.median(values) if values else float("nan")


print("\n| what | ops/s | p50 µs | p99 µs |\n|---|---|---|---|")
for key, rs in runs.items():
    rate = "ops_s" if "ops_s" in rs[0] else "rounds_s"
    print(f"| {key} | {median(key, rate):,.0f} | {median(key, 'p50_us'):,.0f} | {median(key, 'p99_us'):,.0f} |")
floor = next((k for k in runs if k.startswith("raft-") and k.endswith("x1")), None)
if floor:
    ratio = median("raftfs overwrite T=1", "p50_us") / median(floor, "p50_us")
    print(f"\noverwrite at T=1 is {ratio:.2f} x the floor's p50; at T=64 {median('raftfs overwrite T=64', 'ops_s'):,.0f}/s")
