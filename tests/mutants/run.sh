#!/bin/bash
# Proves the simulator: each patch here puts one defect into the code, and the simulator has to find
# it. Prints a line a mutant with the number of seeds that took; fails if one was not found.
#
# usage: tests/mutants/run.sh [NAME…]     (after `make` has built $B/simulator)
# environment: B (build/release), MUTANT_SEEDS (20000), MUTANT_CFLAGS
set -u
cd "$(dirname "$0")/../.." || exit 2
B=${B:-build/release} cap=${MUTANT_SEEDS:-20000}
work=$B/mutants
mkdir -p "$work" || exit 2
[ $# -gt 0 ] || set -- $(cd tests/mutants && ls *.patch | sed 's/\.patch$//')

# the one file that a patch changes, compiled as the Makefile does; in the place of the simulator's own,
# or before the library's
build() {
	local name=$1 file f objects=()
	file=$(sed -n 's,^+++ b/,,p' "tests/mutants/$name.patch")
	for f in tests/sim/*.c; do
		[ "$f" = "$file" ] || objects+=("$B/${f%.c}.o")
	done
	cp "$file" "$work/$name.c" &&
		patch --quiet --no-backup-if-mismatch "$work/$name.c" "tests/mutants/$name.patch" &&
		gcc -std=c11 -D_GNU_SOURCE -pthread -O2 -g ${MUTANT_CFLAGS:-} -I"$B/gen" \
			-iquote "$(dirname "$file")" -c -o "$work/$name.o" "$work/$name.c" &&
		gcc -pthread -Wl,--as-needed -o "$work/$name" "$work/$name.o" "${objects[@]}" \
			"$B/libsupport.a" "$B/libraftfs.a" \
			-luv -lprotobuf-c -lrocksdb -lisal -lxxhash -lfuse3 -ljansson -lstdc++
}

missed=0 n=0
printf '%-44s %7s  %s\n' mutant seeds 'how it was caught'
for name; do
	n=$((n + 1))
	if ! build "$name" >"$work/$name.log" 2>&1; then
		printf '%-44s %7s  %s\n' "$name" - 'does not build:'
		cat "$work/$name.log"
		missed=$((missed + 1))
		continue
	fi
	line=$("$work/$name" --seeds "1..$cap" --stop 2>/dev/null | grep -a '^caught')
	if [ -z "$line" ]; then
		printf '%-44s %7s  %s\n' "$name" "$cap" 'NOT CAUGHT'
		missed=$((missed + 1))
	else
		seeds=${line#caught after } seeds=${seeds%% *}
		printf '%-44s %7s  %s\n' "$name" "$seeds" "$(echo "${line#*: }" | cut -c1-90)"
	fi
	rm -f "$work/$name" "$work/$name.o" "$work/$name.c"
done
echo "mutants: $((n - missed)) passed, $missed failed"
[ "$missed" -eq 0 ]
