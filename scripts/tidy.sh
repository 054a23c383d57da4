#!/usr/bin/env bash
# What `make tidy` checks: layers, banned calls, formatting, clang-tidy, cppcheck.
# usage: scripts/tidy.sh GENERATED_INCLUDE_DIR
set -u
cd "$(dirname "$0")/.." || exit 1
gen=${1:?usage: scripts/tidy.sh GENERATED_INCLUDE_DIR}
bad=0
fail() { echo "tidy: $*" >&2; bad=1; }

# ---- layers: which folder may include which (see ARCHITECTURE.md) ----
may_include() { # FOLDER
	case $1 in
	base) echo base ;;
	metrics) echo "base metrics" ;;
	wal) echo "base metrics wal" ;;
	raft | store) echo "base $1" ;;
	wire) echo "base raft store wire" ;;
	tls) echo "base tls" ;;
	net) echo "base wire tls net" ;;
	config) echo "base vendor tls config" ;;
	client) echo "base wire tls net config client" ;;
	node) echo "base metrics raft wal store wire tls net config node" ;;
	raftd) echo "base wire tls config client node raftd" ;;
	raftctl) echo "base metrics raft wal store tls config wire client raftctl" ;; # raft, wal, store: offline commands
	fuse) echo "base tls config wire client fuse" ;;
	esac
}
layers() {
	local f from to
	for f in src/*/*.[ch] fuse/*.[ch]; do
		from=$(basename "$(dirname "$f")")
		sed -n 's/^#include "\([^"]*\)".*/\1/p' "$f" | while read -r inc; do
			case $inc in
			*.pb-c.h) to=generated ;;
			*vendor/*) to=vendor ;;
			*/*) to=$(basename "$(dirname "$inc")") ;;
			*) to=$from ;;
			esac
			[ "$to" = generated ] && [ "$from" = wire ] && continue
			# The mount's main() may also start a node.
			[ "$f" = fuse/main.c ] && [ "$to" = node ] && continue
			case " $(may_include "$from") " in
			*" $to "*) ;;
			*) echo "$f includes $inc: $from/ may not know $to/" ;;
			esac
		done
	done
}
out=$(layers)
[ -z "$out" ] || fail "layers:"$'\n'"$out"

# The consensus core is a pure function.
out=$(grep -nE '#include <(uv|time|pthread|unistd|stdio|sys/|rocksdb|fuse)' src/raft/*.[ch])
[ -z "$out" ] || fail "src/raft/ must stay pure:"$'\n'"$out"

# ---- calls that hide an error or a length ----
out=$(grep -nE '(^|[^_[:alnum:]])(sprintf|vsprintf|strcpy|strcat|gets|atoi|atol|atof|assert)[[:space:]]*\(' \
	src/*/*.[ch] fuse/*.[ch] vendor/*/*.[ch] | grep -vE '_Static_assert|static_assert')
[ -z "$out" ] || fail "banned calls:"$'\n'"$out"

# ---- formatting ----
if command -v clang-format >/dev/null; then
	out=$(clang-format --dry-run --Werror src/*/*.[ch] fuse/*.[ch] tests/*/*.[ch] 2>&1 | grep -E 'error:' | head -20)
	[ -z "$out" ] || fail "formatting (make format mends it):"$'\n'"$out"
fi

flags=(-std=c11 -D_GNU_SOURCE '-DRAFTFS_VERSION="0"' "-I$gen")
if command -v clang-tidy >/dev/null; then
	out=$(printf '%s\n' src/*/*.c fuse/*.c | xargs -P 2 -n 4 sh -c \
		'clang-tidy --quiet "$@" -- '"$(printf '%q ' "${flags[@]}")"' 2>/dev/null' sh |
		grep -E 'warning:|error:' | sort -u)
	[ -z "$out" ] || fail "clang-tidy:"$'\n'"$out"
fi
if command -v cppcheck >/dev/null; then
	out=$(cppcheck --quiet --std=c11 --enable=warning,portability,performance --inline-suppr -j 2 \
		--suppress=missingIncludeSystem --suppress=uninitvar --suppress=nullPointerRedundantCheck --suppress=ctunullpointer \
		--suppress='*:*pb-c*' --include=/usr/include/utlist.h --include=/usr/include/uthash.h --template='{file}:{line}: {id}: {message}' \
		"${flags[@]:1}" src fuse 2>&1)
	[ -z "$out" ] || fail "cppcheck:"$'\n'"$out"
fi

[ "$bad" -eq 0 ] && echo "tidy: nothing to complain about"
exit "$bad"
