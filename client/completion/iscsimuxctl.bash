# SPDX-License-Identifier: ISC
# bash completion of iscsimuxctl(8): commands, log levels, and session names
# asked of the running daemon.

# Session names, with the -S that stands on the command line.
_iscsimuxctl_sessions() {
	local i socket=()

	for ((i = 1; i < ${#words[@]} - 1; i++)); do
		case ${words[i]} in
		-S|--socket) socket=(-S "${words[i + 1]}") ;;
		--socket=*) socket=(-S "${words[i]#*=}") ;;
		esac
	done
	"${words[0]}" --json --timeout 1 "${socket[@]}" session list \
	    2>/dev/null | sed -n 's/^ *"name": "\([A-Za-z0-9._-]*\)",*$/\1/p'
}

# The words that may stand here, after the command words given.
_iscsimuxctl_next() {
	case $* in
	'')		echo call client info log session stats stop trace ;;
	trace)		echo list ;;
	client)		echo list ;;
	session)	echo list show ;;
	log)		echo error warning info debug ;;
	call)		echo client.list daemon.info daemon.stop log.set \
			    session.list session.show stats.get trace.list \
			    trace.start trace.stop ;;
	stats|'session show'|'client list') _iscsimuxctl_sessions ;;
	esac
}

_iscsimuxctl() {
	local words=("${COMP_WORDS[@]}") cur=${COMP_WORDS[COMP_CWORD]}
	local i given=()

	COMPREPLY=()
	case ${COMP_WORDS[COMP_CWORD - 1]} in
	-S|--socket)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	-w|--write)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	-s|--session)
		mapfile -t COMPREPLY < <(compgen -W \
		    "$(_iscsimuxctl_sessions)" -- "$cur")
		return
		;;
	-t|--timeout)
		return
		;;
	esac
	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W '--headers --help
		    --json --session --socket --timeout --version --write
		    -h -j -s -S -t -V -w' -- "$cur")
		return
	fi
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-s|--session|-S|--socket|-t|--timeout|-w|--write) ((i++)) ;;
		-*) ;;
		*) given+=("${COMP_WORDS[i]}") ;;
		esac
	done
	mapfile -t COMPREPLY < <(compgen -W \
	    "$(_iscsimuxctl_next "${given[@]}")" -- "$cur")
}

complete -F _iscsimuxctl iscsimuxctl
