# SPDX-License-Identifier: ISC
# bash completion of iscsimux(1): commands, their options, session names asked
# of the running daemon, and files.

# Session names, with the -S that stands on the command line.
_iscsimux_sessions() {
	local i socket=()

	for ((i = 1; i < ${#words[@]} - 1; i++)); do
		case ${words[i]} in
		-S|--socket) socket=(-S "${words[i + 1]}") ;;
		--socket=*) socket=(-S "${words[i]#*=}") ;;
		esac
	done
	"${words[0]}" list --json --timeout 1 "${socket[@]}" 2>/dev/null |
	    sed -n 's/^ *"session": "\([A-Za-z0-9._-]*\)",*$/\1/p'
}

# The options of a command beside those of all.
_iscsimux_options() {
	case $1 in
	ping)		echo --count --interval --size ;;
	inquiry)	echo --vpd --hex ;;
	read)		echo --offset --length --chunk --queue-depth ;;
	write)		echo --offset --length --chunk --queue-depth \
			    --verify ;;
	discover)	echo --credentials --login ;;
	abort)		echo --clear-aca --clear-task-set ;;
	reset)		echo --target ;;
	query)		echo --event ;;
	raw)		echo --adopt-fd --portal --script ;;
	esac
	echo --help --json --socket --timeout --verbose --version
}

_iscsimux() {
	local words=("${COMP_WORDS[@]}") cur=${COMP_WORDS[COMP_CWORD]}
	local i given=()

	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-[abAcfiloPpqsStT]|--adopt-fd|--chunk|--count|--credentials|\
		--interval|--length|--offset|--portal|--queue-depth|--script|\
		--size|--socket|--target|--timeout|--vpd)
			((i++)) ;;
		-*) ;;
		*) given+=("${COMP_WORDS[i]}") ;;
		esac
	done
	case ${COMP_WORDS[COMP_CWORD - 1]} in
	-f|-S|--script|--socket)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	-p|--vpd)
		mapfile -t COMPREPLY < <(compgen -W 'pages serial id limits
		    characteristics provisioning' -- "$cur")
		return
		;;
	-T|--target)
		mapfile -t COMPREPLY < <(compgen -W 'warm cold nexus' -- "$cur")
		return
		;;
	-[abAciloPqst]|--adopt-fd|--chunk|--count|--credentials|--interval|\
	--length|--offset|--portal|--queue-depth|--size|--timeout)
		return
		;;
	esac
	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W \
		    "$(_iscsimux_options "${given[0]}")" -- "$cur")
		return
	fi
	case ${#given[@]}:${given[0]} in
	0:*)
		mapfile -t COMPREPLY < <(compgen -W 'abort capacity discover
		    inquiry list luns ping query raw read reset submit wait
		    write' -- "$cur")
		;;
	1:discover|1:list|1:raw)
		;;
	1:*)
		mapfile -t COMPREPLY < <(compgen -W \
		    "$(_iscsimux_sessions)" -- "$cur")
		;;
	*:submit)
		if ((${#given[@]} == 2)); then
			mapfile -t COMPREPLY < <(compgen -W 'nop-out
			    scsi-command task-management-request
			    text-request' -- "$cur")
		fi
		;;
	2:read|2:write)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		;;
	esac
}

complete -F _iscsimux iscsimux
