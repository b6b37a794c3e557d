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

# What follows the connection in fault set, by the number of words before it.
_iscsimuxctl_fault() {
	case $1 in
	3)	echo read write ;;
	4)	echo errno= close corrupt short= delay= stall ;;
	*)	echo after= from-now id= repeat ;;
	esac
}

# The words that may stand here, after the command words given.
_iscsimuxctl_next() {
	case $* in
	'')		echo call client discover drain fault info log reconnect \
			    reload session stats stop trace ;;
	trace)		echo list ;;
	client)		echo list ;;
	fault)		echo clear list set ;;
	session)	echo add list login logout remove show ;;
	log)		echo error warning info debug ;;
	call)		echo client.list config.reload daemon.drain \
			    daemon.info daemon.stop fault.clear fault.list \
			    fault.set log.set session.add \
			    session.discover session.list session.login \
			    session.logout session.reconnect session.remove \
			    session.show stats.get trace.list trace.start \
			    trace.stop ;;
	stats|reconnect|'session show'|'session login'|\
	'session logout'|'session remove'|'client list')
			_iscsimuxctl_sessions ;;
	'fault clear'|'fault list'|'fault set') _iscsimuxctl_sessions ;;
	'fault set '*)	_iscsimuxctl_fault $# ;;
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
		    --json --session --socket --timeout --version --wait --write
		    -h -j -s -S -t -V -W -w' -- "$cur")
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
	if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]]; then
		compopt -o nospace
	fi
}

complete -F _iscsimuxctl iscsimuxctl
