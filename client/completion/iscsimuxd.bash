# SPDX-License-Identifier: ISC
# bash completion of iscsimuxd(8).

_iscsimuxd() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}

	COMPREPLY=()
	if [[ $prev == = && $COMP_CWORD -gt 1 ]]; then
		prev=${COMP_WORDS[COMP_CWORD - 2]}
	elif [[ $cur == = ]]; then
		prev=${COMP_WORDS[COMP_CWORD - 1]}
		cur=
	fi
	case $prev in
	-c|--config|--check-config|-p|--pidfile|-S|--data-socket|--control-socket)
		if [[ $cur != -* ]]; then
			compopt -o filenames
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			return
		fi
		;;
	-u|--user)
		mapfile -t COMPREPLY < <(compgen -u -- "$cur")
		return
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W '--check-config --config
	    --control-socket --data-socket --debug --foreground --help
	    --pidfile --user --version' -- "$cur")
}

complete -F _iscsimuxd iscsimuxd
