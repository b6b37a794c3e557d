#!/bin/sh
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2016 # backticks in single quotes are Markdown
#
# Fails when a row of tests/protocol-matrix.md or tests/seed-matrix.md names a
# test that does not exist or that no make target runs, and when a row that
# has to be there is not.
#
#   check_matrix.sh [SRCDIR]   says each bad row; exit 1 if there is one
#   check_matrix.sh            under make check: the same and a self test, TAP
#
# A row is `| A1 | what | `test` |`; several tests stand in backticks of their
# own. A test is one of
#   name            START_TEST(name) in a program of unit_tests
#   check_x:name    the same, in the program tests/unit/check_x only
#   replay_x        a program of unit_tests in tests/fuzz
#   x.py            a script of integration_tests
#   x.py:name       the function name in it, which @test registers; in an
#                   x.sh, a function that is also called
# A row without a test says why, and what is missing, as `later: why`; none of
# the seed matrix is for later.

set -u

# The items that the protocol matrix must have.
items=$(awk 'BEGIN {
	for (i = 1; i <= 25; i++)
		print "A" i
	for (i = 1; i <= 40; i++)
		print "B" i
	for (i = 1; i <= 24; i++)
		print "C" i "\nE" i
	for (i = 1; i <= 17; i++)
		print "D" i
}')
# Every identifier of the seed: constants, functions, types, methods.
identifiers='HookSend HookReceive DefaultRouterBufDepth
GetBHS GetBuffer PutBHS PutBuffer ReadPump WithReadFaultAfter
WithWriteFaultAfter WritePump WriteRawPDU
Conn Dial NewConnFromNetConn Conn.Close Conn.DigestByteOrder Conn.DigestData
Conn.DigestHeader Conn.MaxRecvDSL Conn.NetConn Conn.SetDeadline
Conn.SetDigestByteOrder Conn.SetDigests Conn.SetMaxRecvDSL
FaultConn NewFaultConn FaultConn.Read FaultConn.SetReadFault
FaultConn.SetWriteFault FaultConn.Write
RawPDU ReadRawPDU
Router NewRouter Router.AllocateITT Router.Dispatch Router.PendingCount
Router.Register Router.RegisterPersistent Router.Unregister'

# Prints the words of make variable $1, those of variables in it included.
make_words() {
	find tests -name '*.am' -exec awk -v want="$1" '
	/^[[:blank:]]*#/ { next }
	{
		line = line $0
		if (sub(/\\$/, " ", line))
			next
		if (split(line, part, /[[:blank:]]*\+?=[[:blank:]]*/) > 1 &&
		    part[1] == want) {
			sub(/^[^=]*=/, "", line)
			print line
		}
		line = ""
	}' {} + | tr -s '[:blank:]' '\n' | while read -r word; do
		case $word in
		'') ;;
		'$('*')') (make_words "$(expr "$word" : '\$(\(.*\))')") ;;
		*) echo "$word" ;;
		esac
	done
}

# Prints `program source` for each C source of each registered unit test.
unit_sources() {
	make_words unit_tests | while read -r program; do
		var=$(printf '%s_SOURCES' "$program" | tr -c 'A-Za-z0-9_' _)
		{
			make_words "$var"
			echo "$program.c"
		} | sort -u | while read -r source; do
			[ -f "$source" ] && echo "$program $source"
		done
	done
}

# Prints `program name` for each test that is both defined and added.
unit_names() {
	unit_sources | while read -r program source; do
		awk -v program="$program" '
		{ text = text $0 "\n" }
		match($0, /^START_TEST[[:blank:]]*\([A-Za-z0-9_]+\)/) {
			name = substr($0, RSTART, RLENGTH)
			gsub(/.*\(|\)/, "", name)
			defined[++n] = name
		}
		END {
			for (i = 1; i <= n; i++)
				if (gsub("[^A-Za-z0-9_]" defined[i] \
				    "[^A-Za-z0-9_]", "&", text) > 1)
					print program, defined[i]
		}' "$source"
	done
}

# integration_has FILE FUNCTION: whether FILE registers the test FUNCTION.
integration_has() {
	case $1 in
	*.py)
		awk -v name="$2" '
		/^[[:blank:]]*@(harness\.)?test/ { marked = 1; next }
		/^[[:blank:]]*@/ { next }
		$1 == "def" && marked {
			word = $2
			sub(/\(.*/, "", word)
			if (word == name)
				found = 1
		}
		/^[^ \t)]/ { marked = 0 }
		END { exit !found }' "$1"
		;;
	*)
		grep -q "^$2()" "$1" && [ "$(grep -cw "$2" "$1")" -gt 1 ]
		;;
	esac
}

# bad_test TEST UNITS SCRIPTS PROGRAMS: prints why TEST is none, or nothing.
bad_test() {
	case $1 in
	replay_*)
		grep -qxF "tests/fuzz/$1" "$4" ||
		    echo "no program tests/fuzz/$1 in unit_tests"
		;;
	*.py|*.sh|*.py:*|*.sh:*)
		file=${1%%:*}
		file=tests/integration/${file##*/}
		if ! grep -qxF "$file" "$3"; then
			echo "$file is not in integration_tests"
		elif [ ! -x "$file" ]; then
			echo "$file is not an executable file"
		elif [ "$1" != "${1#*:}" ] &&
		    ! integration_has "$file" "${1#*:}"; then
			echo "$file has no registered test ${1#*:}"
		fi
		;;
	*:*)
		grep -qxF "tests/unit/${1%%:*} ${1#*:}" "$2" ||
		    echo "no test ${1#*:} in tests/unit/${1%%:*}"
		;;
	*)
		grep -q " $1\$" "$2" || echo "no registered test $1"
		;;
	esac
}

# rows_of MATRIX: `line item cell` of each row, header rows left out.
rows_of() {
	awk -F'|' '
	function tell() {
		item = part[2]
		gsub(/`| /, "", item)
		print line, item, n == 5 ? part[4] : "|"
	}
	/^\|-/ { held = 0; next }
	held { tell() }
	{ held = 0 }
	/^\|/ { held = 1; line = FNR; n = split($0, part, "|") }
	END { if (held) tell() }' "$1"
}

# bad_row WHERE ITEM CELL LISTS: prints what is wrong with a row.
bad_row() {
	if [ "$3" = '|' ]; then
		echo "$1: not a row of three cells"
		return
	fi
	tests=$(printf '%s\n' "$3" | grep -o '`[^`]*`' | tr -d '`')
	cell=$(printf '%s\n' "$3" | sed 's/^ *//; s/ *$//')
	case $1:$cell in
	*seed-matrix*:*later:*) echo "$1: $2: later is too late" ;;
	esac
	case $tests$cell in
	'later: '?*) ;;
	later:*) echo "$1: $2: later, but not what" ;;
	*'`'*) ;;
	*) echo "$1: $2 names no test" ;;
	esac
	for test in $tests; do
		why=$(bad_test "$test" "$4/units" "$4/scripts" "$4/programs")
		[ -z "$why" ] || echo "$1: $2: $why"
	done
}

# matrix_offences MATRIX WANTED LISTS: what is wrong with it, and which of the
# WANTED rows it lacks.
matrix_offences() {
	if [ ! -f "$1" ]; then
		echo "$1 is missing"
		return
	fi
	rows_of "$1" >"$3/rows"
	while read -r line item cell; do
		bad_row "$1:$line" "$item" "$cell" "$3"
	done <"$3/rows"
	for item in $2; do
		case $(awk -v item="$item" '
		    $2 == item { n++ } END { print n + 0 }' "$3/rows") in
		0) echo "$1: no row for $item" ;;
		1) ;;
		*) echo "$1: more than one row for $item" ;;
		esac
	done
}

# Prints one line for each row of the matrices of tree $1 that is wrong.
offences() {
	(
		cd "$1" || exit
		lists=$(mktemp -d) || exit
		unit_names >"$lists/units"
		make_words unit_tests >"$lists/programs"
		make_words integration_tests >"$lists/scripts"
		matrix_offences tests/protocol-matrix.md "$items" "$lists"
		matrix_offences tests/seed-matrix.md "$identifiers" "$lists"
		rm -rf "$lists"
	)
}

# --- self test

scratch=
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
count=1

# expect NAME ROW WANTED [FILE]: with this row alone, in the protocol matrix or
# in FILE, what is said must match the basic regular expression WANTED, or be
# nothing if that is empty.
expect() {
	count=$((count + 1))
	table="$scratch/tests/protocol-matrix.md"
	[ -z "${4-}" ] || table="$scratch/tests/$4"
	printf '| item | what | test |\n|---|---|---|\n' |
	    tee "$scratch/tests/protocol-matrix.md" \
	    >"$scratch/tests/seed-matrix.md"
	printf '%s\n' "$2" >>"$table"
	said=$(offences "$scratch")
	if { [ -z "$3" ] && [ -z "$said" ]; } ||
	    { [ -n "$3" ] && printf '%s\n' "$said" | grep -q "$3"; }; then
		echo "ok $count - $1"
	else
		echo "not ok $count - $1"
		echo "# said: $said"
	fi
}

make_scratch() {
	scratch=$(mktemp -d) || exit 99
	mkdir -p "$scratch/tests/unit" "$scratch/tests/integration"
	cat >"$scratch/tests/local.am" <<-'END'
	unit_tests = tests/unit/check_a \
		tests/fuzz/replay_f $(more_tests)
	more_tests = tests/unit/check_b
	tests_unit_check_a_SOURCES = tests/unit/check_a.c
	tests_unit_check_b_SOURCES = tests/unit/check_b.c tests/unit/more.c
	integration_tests = tests/integration/i.py tests/integration/s.sh
	END
	printf 'START_TEST(%s)\n' added forgotten >"$scratch/tests/unit/check_a.c"
	echo 'tcase_add_test(tc, added);' >>"$scratch/tests/unit/check_a.c"
	printf 'START_TEST(%s)\n tcase_add_test(tc, %s);\n' second second \
	    >"$scratch/tests/unit/more.c"
	printf 'START_TEST(%s)\n tcase_add_test(tc, %s);\n' outside outside \
	    >"$scratch/tests/unit/check_c.c"
	printf '@test("x")\ndef real():\n    pass\n\ndef helper():\n' \
	    >"$scratch/tests/integration/i.py"
	printf 'called() {\n}\nidle() {\n}\ncalled\n' \
	    >"$scratch/tests/integration/s.sh"
	cp "$scratch/tests/integration/i.py" "$scratch/tests/integration/j.py"
	chmod +x "$scratch"/tests/integration/*
}

self_test() {
	make_scratch
	items=
	identifiers=
	expect 'a unit test' '| A1 | w | `added` |' ''
	expect 'in its program' '| A1 | w | `check_a:added` |' ''
	expect 'in a second source' '| A1 | w | `check_b:second` |' ''
	expect 'a script' '| A1 | w | `i.py` |' ''
	expect 'a function of a script' '| B2 | w | `i.py:real`, `s.sh:called` |' ''
	expect 'no test of that name' '| A1 | w | `nothing` |' 'no registered'
	expect 'defined but not added' '| A1 | w | `forgotten` |' \
	    'no registered'
	expect 'its program is in no list' '| A1 | w | `outside` |' \
	    'no registered'
	expect 'another program' '| A1 | w | `check_b:added` |' 'no test added'
	expect 'a script in no list' '| A1 | w | `j.py` |' 'integration_tests'
	expect 'a function that is no test' '| A1 | w | `i.py:helper` |' \
	    'no registered test helper'
	expect 'a function never called' '| A1 | w | `s.sh:idle` |' \
	    'no registered test idle'
	expect 'one of two is wrong' '| A1 | w | `added` `nothing` |' 'A1'
	expect 'a row without test' '| A1 | w | |' 'names no test'
	expect 'a row for later' '| A1 | w | later: with raw connections |' ''
	expect 'later without a word' '| A1 | w | later: |' 'not what'
	expect 'a test, and more later' '| A1 | w | `nothing`; later: x |' \
	    'no registered'
	expect 'a row with two cells' '| A1 | `added` |' 'three cells'
	expect 'a fuzzer' '| A1 | w | `replay_f` |' ''
	expect 'no such fuzzer' '| A1 | w | `replay_g` |' 'no program'
	expect 'the seed matrix' '| `Dial` | w | `nothing` |' \
	    'Dial: no registered' seed-matrix.md
	expect 'nothing of the seed is for later' \
	    '| `Dial` | w | `added`; later: more |' 'too late' seed-matrix.md
	items=A1
	identifiers='Conn.Close'
	expect 'an item that has to be there' '' 'no row for A1'
	expect 'an identifier that has to be there' '| `Conn` | w | `added` |' \
	    'no row for Conn.Close' seed-matrix.md
	items=
	expect 'all identifiers' '| `Conn.Close` | w | `added` |' '' \
	    seed-matrix.md
	expect 'an identifier twice' '| `Conn.Close` | w | `added` |
| `Conn.Close` | w | `added` |' 'more than one' seed-matrix.md
}

case ${1-} in
-h|--help)
	sed -n '5,23s/^# \{0,1\}//p' "$0"
	exit 0
	;;
'')
	said=$(offences "${top_srcdir:-$(dirname "$0")/..}")
	echo 1..27
	if [ -z "$said" ]; then
		echo 'ok 1 - every row of the matrices names a test that runs'
	else
		echo 'not ok 1 - every row of the matrices names a test that runs'
		printf '%s\n' "$said" | sed 's/^/# /'
	fi
	self_test
	;;
*)
	said=$(offences "$1")
	[ -z "$said" ] && exit 0
	printf '%s\n' "$said" >&2
	exit 1
	;;
esac
