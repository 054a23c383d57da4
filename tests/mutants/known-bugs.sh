#!/bin/bash
# docs/known-bugs.md against the tree.
#
# usage: tests/mutants/known-bugs.sh --check     whatever the table names is there, and the other way round
#        tests/mutants/known-bugs.sh [PATTERN]   puts each defect into the code and sees its scenario fail
#                                                (after `make check-programs`; PATTERN: a part of a row)
# environment: B (build/release)
set -u
cd "$(dirname "$0")/../.." || exit 2
B=${B:-build/release} table=docs/known-bugs.md
work=$B/known-bugs
passed=0 failed=0

# "SCENARIO<tab>DEFECT" for each row; a unit or e2e test is "FILE: NAME", a row may do without a defect: "-"
rows() {
	sed -n 's/^|[^|]*| `\([^`]*\)` |[^|]*| `\{0,1\}\([^`| ]*\)`\{0,1\} |$/\1\t\2/p' "$table"
}

pass() {
	passed=$((passed + 1))
}

fail() {
	failed=$((failed + 1))
	echo "FAIL $1"
}

# ---- what is named is there ----

check_row() { # SCENARIO DEFECT
	local file=${1%%: *} name=${1#*: }
	if [ ! -f "$file" ]; then
		fail "$table names $file, which does not exist"
	elif [ "$file" != "$1" ] && ! grep -q "\b$name\b" "$file"; then
		fail "$table names $name, which is not in $file"
	elif [ "$2" != - ] && [ ! -f "tests/mutants/$2.patch" ]; then
		fail "$table names the defect $2, but there is no tests/mutants/$2.patch"
	else
		pass
	fi
}

check() {
	local scenario defect file
	while IFS=$'\t' read -r scenario defect; do
		check_row "$scenario" "$defect"
	done < <(rows)
	for file in tests/golden/*_[0-9]*_*.txt; do # named after a project's number
		case $file in */figure_*) continue ;; esac
		grep -qF "\`$file\`" "$table" || fail "$table does not name $file"
	done
	for file in tests/mutants/known-bugs/*.patch; do
		file=known-bugs/$(basename "$file" .patch)
		grep -qF "\`$file\`" "$table" || fail "$table does not name the defect $file"
	done
	[ $((passed + failed)) -eq "$(grep -c '^| .*`tests/' "$table")" ] || fail "$table has a row that cannot be read"
	echo "known-bugs: $passed passed, $failed failed"
	[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}

# ---- each defect is found ----

libs='-luv -lprotobuf-c -lrocksdb -lisal -lxxhash -lfuse3 -ljansson -lstdc++'

link_with() { # OUT OBJECTS…
	local out=$1
	shift
	# shellcheck disable=SC2086
	gcc -pthread -Wl,--as-needed -o "$out" "$@" "$B/libsupport.a" "$B/libraftfs.a" -lcheck -lsubunit -lm -lrt $libs
}

# The one file that the patch changes, compiled as the Makefile does.
mutate() { # DEFECT -> $work/mutant.o
	local file
	file=$(sed -n 's,^+++ b/,,p' "tests/mutants/$1.patch")
	cp "$file" "$work/mutant.c" &&
		patch --quiet --no-backup-if-mismatch "$work/mutant.c" "tests/mutants/$1.patch" &&
		gcc -std=c11 -D_GNU_SOURCE -DRAFTFS_VERSION='"0"' -pthread -O2 -g -I"$B/gen" \
			-iquote "$(dirname "$file")" -c -o "$work/mutant.o" "$work/mutant.c"
}

# 0 if the scenario fails, as it should
fails() { # SCENARIO
	local file=${1%%: *} name=${1#*: } unit
	case $file in
	tests/golden/*)
		link_with "$work/golden" "$work/mutant.o" "$B"/tests/golden/*.o || return 2
		! "$work/golden" "$file" >"$work/said" 2>&1
		;;
	tests/unit/*)
		unit=$(basename "$file" .c)
		link_with "$work/$unit" "$work/mutant.o" "$B/tests/unit/$unit.o" || return 2
		CK_VERBOSITY=normal "$work/$unit" >"$work/said" 2>&1
		grep -q ":[FE]:[^:]*:$name:" "$work/said"
		;;
	tests/e2e/*)
		link_with "$work/raftd" "$work/mutant.o" "$B/src/raftd/main.o" || return 2
		cp bin/raftctl bin/raftfs "$work/"
		! RAFTFS_BIN=$PWD/$work python3 tests/e2e/run.py -k "$name" >"$work/said" 2>&1
		;;
	esac
}

try() { # PATTERN
	local scenario defect
	mkdir -p "$work" || exit 2
	while IFS=$'\t' read -r scenario defect; do
		[ "$defect" != - ] || continue
		if ! mutate "$defect" >"$work/log" 2>&1; then
			fail "$defect does not build:"
			cat "$work/log"
		elif fails "$scenario" 2>>"$work/log"; then
			pass
			echo "caught  $defect: $scenario"
		else
			fail "$defect is not caught by $scenario"
			tail -5 "$work/log"
		fi
	done < <(rows | grep -F -- "$1")
	echo "known-bugs: $passed passed, $failed failed"
	[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}

case ${1:-} in
--check) check ;;
*) try "${1:-}" ;;
esac
