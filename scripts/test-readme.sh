#!/bin/bash
# README's first screen, word for word, in a fresh Debian 12: what a reader types there works, and prints what he expects.
# usage: scripts/test-readme.sh [USER]      (needs root, the network, /dev/fuse; ports 7001 to 7003 free)
# The commands are run as root, or as an ordinary USER with sudo. What is cloned is the tree's last commit.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/fresh.sh
. scripts/fresh.sh
user=${1:-root}

# The first two blocks of code, without the comments.
commands() {
	awk '/^    / { if (!code) n++; code = 1; if (n <= 2) print substr($0, 5); next } /./ { code = 0 }' README.md |
		sed 's/[[:space:]]*#.*//'
}

# What a command has to print, as an extended regular expression for its whole output ("": nothing). Nothing known: fails.
wanted() { # COMMAND
	case $1 in
	"git clone "*) echo '.*' ;;
	"make && bin/raftctl demo") echo '.*60 of 60 keys are there.*' ;;
	"make up") echo '.*The cluster .demo. is up.*' ;;
	"echo blue > mnt/color") ;;
	"ls mnt") echo 'color' ;;
	"cat mnt/color" | "bin/raftctl get color") echo 'blue' ;;
	"bin/raftctl status") echo '(.*yes){3}' ;;
	"leader="*) echo '[123] 127.0.0.1:700[123]' ;;
	"kill -9 "*) ;;
	"echo green > mnt/color && cat mnt/color") echo 'green' ;;
	*) return 1 ;;
	esac
}

trap fresh_remove EXIT
fresh_make build
say "git and make, which a reader has"
inside apt-get -qq update
inside apt-get -qq -y --no-install-recommends install git make sudo >"$root.log" 2>&1 || { tail "$root.log" >&2; fail "apt-get"; }
rm "$root.log"
[ "$user" = root ] || {
	inside useradd -m -s /bin/bash "$user"
	echo "$user ALL=(ALL) NOPASSWD: ALL" >"$root/etc/sudoers.d/reader"
}
git clone -q --bare . "$root/srv/raftfs.git"
chroot "$root" chown -R "$user" /srv/raftfs.git

# One shell types all of it; what each command prints goes to a file, with its exit code behind.
{
	echo 'cd; mkdir /tmp/said'
	n=0
	commands | while IFS= read -r command; do
		wanted "$command" >/dev/null || fail "scripts/test-readme.sh does not know what '$command' should print"
		n=$((n + 1))
		printf '%s\n' "echo '  \$ $command'" "{ ${command/…//srv/raftfs.git}"$'\n'"} >/tmp/said/$n 2>&1 </dev/null"
		printf '%s\n' "echo \$? >/tmp/said/$n.code; [ \$(cat /tmp/said/$n.code) = 0 ] || exit 1"
	done
	printf '%s\n' 'make down >/tmp/said/down 2>&1 || exit 1' '! mountpoint -q mnt && ! readlink /proc/[0-9]*/exe | grep raft'
} >"$root/srv/typed"
say "as $user:"
status=0
unshare --mount --pid --fork --kill-child --mount-proc="$root/proc" chroot "$root" su - "$user" -c 'bash /srv/typed' || status=$?

n=0
while IFS= read -r command; do
	n=$((n + 1))
	said=$(tr '\n' ' ' <"$root/tmp/said/$n" | sed 's/ *$//') || fail "'$command' was not reached"
	[ "$(cat "$root/tmp/said/$n.code")" = 0 ] || { tail -20 "$root/tmp/said/$n" >&2; fail "'$command' failed"; }
	grep -qxE -- "$(wanted "$command")" <<<"$said" || { tail -20 "$root/tmp/said/$n" >&2; fail "'$command' did not print '$(wanted "$command")'"; }
done < <(commands)
[ "$n" -gt 10 ] || fail "only $n commands were found in README.md"
[ $status = 0 ] || { cat "$root/tmp/said/down" >&2; fail "make down left something behind"; }
say "$n commands did what the README says"
