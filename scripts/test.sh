#!/usr/bin/env bash
# Runs the test tiers and closes with one line that counts everything: "N passed, N failed".
# usage: scripts/test.sh [unit] [golden] [sim] [e2e]     (all of them without arguments)
# environment (set by the Makefile): B build directory, RAFTFS_BIN directory of the programs, MODE
# E2E_JOBS: end-to-end tests at a time (3 on two cores: much of their time is waiting)
set -u
cd "$(dirname "$0")/.." || exit 1
B=${B:-build/release}
RAFTFS_BIN=${RAFTFS_BIN:-$PWD/bin}
MODE=${MODE:-release}
SIM_SEEDS=${SIM_SEEDS:-}
export RAFTFS_BIN MODE CK_DEFAULT_TIMEOUT="${CK_DEFAULT_TIMEOUT:-120}"
[ $# -gt 0 ] || set -- unit golden sim e2e

passed=0 failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# A program's own count, or one failure when it ended without giving one.
count() { # NAME STATUS PASSED FAILED
	passed=$((passed + $3))
	failed=$((failed + $4))
	if [ "$2" -ne 0 ] && [ "$4" -eq 0 ]; then
		failed=$((failed + 1))
		echo "FAIL $1: ended with status $2"
	elif [ "$3" -eq 0 ] && [ "$4" -eq 0 ]; then
		failed=$((failed + 1))
		echo "FAIL $1: ran no test"
	fi
}

run_unit() {
	local t status total bad
	for t in "$B"/tests/test_*; do
		case $t in *.d | *.o) continue ;; esac
		[ -f "tests/unit/$(basename "$t").c" ] || continue
		"$t" >"$log" 2>&1
		status=$?
		total=$(sed -n 's/.*Checks: \([0-9]*\), Failures: \([0-9]*\), Errors: \([0-9]*\).*/\1/p' "$log" | tail -1)
		bad=$(sed -n 's/.*Checks: \([0-9]*\), Failures: \([0-9]*\), Errors: \([0-9]*\).*/\2 + \3/p' "$log" | tail -1)
		total=${total:-0} bad=$((${bad:-0}))
		echo "unit $(basename "$t"): $((total - bad)) of $total"
		[ "$status" -eq 0 ] || tail -40 "$log"
		count "$(basename "$t")" "$status" $((total - bad)) "$bad"
	done
}

# Programs that close with "NAME: N passed, N failed".
run_counting() { # NAME COMMAND…
	local name=$1 status p f
	shift
	"$@" 2>&1 | tee "$log"
	status=${PIPESTATUS[0]}
	p=$(sed -n 's/^'"$name"': \([0-9]*\) passed, \([0-9]*\) failed.*/\1/p' "$log" | tail -1)
	f=$(sed -n 's/^'"$name"': \([0-9]*\) passed, \([0-9]*\) failed.*/\2/p' "$log" | tail -1)
	count "$name" "$status" "${p:-0}" "${f:-0}"
}

for tier in "$@"; do
	case $tier in
	unit) run_unit ;;
	golden)
		run_counting golden "$B/golden" tests/golden/*.txt
		run_counting known-bugs tests/mutants/known-bugs.sh --check
		;;
	sim) run_counting sim "$B/simulator" ${SIM_SEEDS:+--seeds "$SIM_SEEDS"} --quick ;;
	e2e) run_counting e2e /usr/bin/python3 tests/e2e/run.py -j "${E2E_JOBS:-3}" ;;
	*)
		echo "scripts/test.sh: no tier named $tier" >&2
		exit 2
		;;
	esac
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
