#!/usr/bin/env bash
# Runs one fuzzer: first over every case that ever failed (tests/fuzz/corpus/NAME/), then for FUZZ_SECONDS on new ones.
# usage: tests/fuzz/run.sh PROGRAM
set -eu
prog=$1
name=$(basename "$prog")
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
kept=$here/corpus/$name
[ -d "$kept" ] || kept=
echo "== $name"
"$prog" -max_total_time="${FUZZ_SECONDS:-60}" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
	-artifact_prefix="./$name-" "$work" $kept
