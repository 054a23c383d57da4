# bash completion for raftd, raftfs and raftctl. What there is comes from the programs' own --help, so that it is what
# the installed version has.

# The options in a help text, one a line; those with a value too.
_raftfs_options() { # PROGRAM [COMMAND]
	"$@" --help 2>/dev/null | grep -oE '(^|[[:space:]\[])--?[a-z][a-z-]*' | grep -oE -- '--?[a-z][a-z-]*' | sort -u
}

# The commands of raftctl.
_raftfs_commands() { # PROGRAM
	"$1" --help 2>/dev/null | sed -n '/^commands:/,/^$/s/^  \([a-z][a-z-]*\).*/\1/p'
}

# Words of raftctl that are neither options nor their values, before the one being completed.
_raftfs_operands() {
	local i skip=
	for ((i = 1; i < COMP_CWORD; i++)); do
		if [ -n "$skip" ]; then
			skip=
			continue
		fi
		case ${COMP_WORDS[i]} in
		--cluster | --endpoint | --timeout | --ca | --cert | --key) skip=1 ;;
		-*) ;;
		*) printf '%s\n' "${COMP_WORDS[i]}" ;;
		esac
	done
}

# Keys that begin like the word, a directory at a time; nothing when no cluster answers within a second.
_raftfs_keys() { # PROGRAM WORD
	local folder=${2%"${2##*/}"} name
	"$1" --timeout 1 ls ${folder:+"$folder"} 2>/dev/null | while IFS= read -r name; do
		printf '%s\n' "$folder$name"
	done
}

_raftctl() {
	local program=$1 word=$2 before=$3 operands words
	case $before in
	--cluster | --ca | --cert | --key)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
		;;
	--endpoint | --timeout) return ;;
	esac
	mapfile -t operands < <(_raftfs_operands)
	if [[ $word == -* ]]; then
		words=$(_raftfs_options "$program"; [ ${#operands[@]} -eq 0 ] || _raftfs_options "$program" "${operands[0]}")
	elif [ ${#operands[@]} -eq 0 ]; then
		words=$(_raftfs_commands "$program")
	else
		case ${operands[0]} in
		set | get | delete | show | ls | setval | getval | watch)
			[ ${#operands[@]} -gt 1 ] || { compopt -o nospace; words=$(_raftfs_keys "$program" "$word"); }
			;;
		config | cluster | member | lock | quota | cert)
			if [ ${#operands[@]} -eq 1 ]; then
				words=$("$program" --help | awk -F '  +' -v c="${operands[0]} " 'index($2, c) == 1 { print $2 }' | tr ' |' '\n' | grep -E '^[a-z]+$' | grep -vxF "${operands[0]}")
			else
				compopt -o filenames
				mapfile -t COMPREPLY < <(compgen -f -- "$word")
				return
			fi
			;;
		backup | restore | export | import | check)
			compopt -o filenames
			mapfile -t COMPREPLY < <(compgen -f -- "$word")
			return
			;;
		esac
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}

_raftd() {
	local program=$1 word=$2 before=$3
	case $before in
	--cluster | --data-dir | --ca | --cert | --key)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		;;
	--log-level) mapfile -t COMPREPLY < <(compgen -W "error warn info debug" -- "$word") ;;
	--id | --listen | --join | --metrics) ;;
	*) mapfile -t COMPREPLY < <(compgen -W "$(_raftfs_options "$program")" -- "$word") ;;
	esac
}

_raftfs() {
	local program=$1 word=$2 before=$3 list last
	case $before in
	-o)
		list=${word%"${word##*,}"} last=${word##*,}
		compopt -o nospace
		mapfile -t COMPREPLY < <(compgen -P "$list" -W "subdir= ro rw uid= gid= umask= read=linearizable read=local id= timeout=
			logfile= ca= cert= key= commit=write commit=close debug allow_other default_permissions exec noexec suid nosuid dev nodev noatime sync dirsync
			_netdev nofail noauto" -- "$last")
		;;
	--cluster | --id | --log-level) _raftd "$@" ;;
	*)
		if [[ $word == -* ]]; then
			mapfile -t COMPREPLY < <(compgen -W "$(_raftfs_options "$program")" -- "$word")
		else
			compopt -o filenames
			mapfile -t COMPREPLY < <(compgen -d -- "$word")
		fi
		;;
	esac
}

complete -F _raftctl raftctl
complete -F _raftd raftd
complete -F _raftfs raftfs
