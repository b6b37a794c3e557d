/* SPDX-License-Identifier: ISC */
/*
 * Each kind of mistake in a configuration gives its message, with file, line
 * and key, and is found however many others there are.
 */
#include "config.h"

#include <errno.h>

#include "config_fixture.h"
#include "unit.h"

#define D(line)		"daemon {\n" line "\n}\n"
#define S(line)		FIXTURE_SESSION("s") line "\n}\n"
#define A(line)		S("access {\n" line "\n}")
#define R(line)		"raw {\n" line "\ngroups = 0\nportals = [::1]\n}\n"
#define P(value)	"raw {\nusers = 0\nportals = " value "\n}\n"

/* `errors` is the number of errors, `first` the whole text of the first. */
static const struct {
	const char	*text;
	size_t		 errors;
	const char	*first;
} cases[] = {
	/* Keys and blocks that do not belong. */
	{ D("colour = red"), 1, "$/main.conf:2: colour: unknown key in "
	    "'daemon': correct or remove it (iscsimuxd.conf(5) lists all "
	    "keys)" },
	{ "user = root\n", 1, "$/main.conf:1: user: belongs in a block "
	    "'daemon': move it there" },
	{ "x = 1\n", 1, "$/main.conf:1: x: unknown key outside of every "
	    "block: correct or remove it (iscsimuxd.conf(5) lists all keys)" },
	{ S("chap-name = \"x\""), 1, "$/main.conf:4: chap-name: unknown key "
	    "in 'session': correct or remove it (iscsimuxd.conf(5) lists all "
	    "keys)" },
	{ D("portal = { a, b }"), 1, "$/main.conf:2: portal: belongs in a "
	    "block 'session': move it there" },
	{ A("portal = a"), 3, "$/main.conf:5: portal: belongs in a block "
	    "'session': move it there" },
	{ "blob x {\n a = 1 b { c = {1} }\n}\n", 1, "$/main.conf:1: blob: "
	    "unknown block: correct or remove it (there are 'daemon', "
	    "'raw', 'session NAME' and in it 'access')" },
	{ "access { }\n", 1, "$/main.conf:1: access: this block belongs in a "
	    "block 'session': move it" },
	{ D("session x { }"), 1, "$/main.conf:2: session: this block belongs "
	    "outside of every block: move it" },
	{ S("raw { }"), 1, "$/main.conf:4: raw: this block belongs outside of "
	    "every block: move it" },
	{ "portals = [::1]\n", 1, "$/main.conf:1: portals: belongs in a block "
	    "'raw': move it there" },
	{ R("allow = all"), 1, "$/main.conf:2: allow: belongs in a block "
	    "'access': move it there" },

	/* Repeats. */
	{ D("user = root\nuser = root"), 1, "$/main.conf:3: user: repeated: "
	    "remove this one or the one at $/main.conf:2" },
	{ A("users = { 0 }\nallow = all\nusers = { 1 }"), 1, "$/main.conf:7: "
	    "users: repeated: remove this one or the one at $/main.conf:5" },
	{ "daemon { }\ndaemon { }\n", 1, "$/main.conf:2: daemon: repeated: "
	    "put all into this block or the one at $/main.conf:1" },
	{ FIXTURE_SESSION("s") "}\n" FIXTURE_SESSION("s") "}\n", 1,
	    "$/main.conf:5: session: 's' is repeated: rename this one or the "
	    "one at $/main.conf:1" },
	{ A("users = { 0, root }\nallow = all"), 1, "$/main.conf:5: users: "
	    "'root' is repeated: remove it" },
	{ A("users = { 0 }\nallow = { all, all }"), 1, "$/main.conf:6: allow: "
	    "'all' is repeated, or part of 'all': remove it" },
	{ S("data-digest = { None, CRC32C,\nNone }"), 1, "$/main.conf:5: "
	    "data-digest: 'None' is repeated: remove it" },
	{ "session s {\nportal = { a:1, b:1,\nA:1 }\ntarget = "
	    FIXTURE_IQN "t\n}\n", 1, "$/main.conf:3: portal: 'A:1' is "
	    "repeated: remove it" },
	{ "session s {\nportal = { a:1, \"a:b\" }\ntarget = "
	    FIXTURE_IQN "t\n}\n", 1, "$/main.conf:2: portal: 'a:b' is no "
	    "portal: after the host comes nothing or ':' and a port, 1 to "
	    "65535 (HOST, HOST:PORT or [IPV6]:PORT)" },
	{ S("reconnect-interval = 2m"), 1, "$/main.conf:4: "
	    "reconnect-interval: reconnect-interval (2m) must not be more "
	    "than reconnect-max (1m): change one of them" },

	/* Gaps. */
	{ "session s {\ntarget = iqn.2004-10.com.example:t\n}\n", 1,
	    "$/main.conf:1: portal: missing in this 'session' block: write "
	    "'portal = ...'" },
	{ "\nsession s {\nportal = a\n}\n", 1, "$/main.conf:2: target: "
	    "missing in this 'session' block: write 'target = ...'" },
	{ A("users = { 0 }"), 1, "$/main.conf:4: allow: missing in this "
	    "'access' block: write 'allow = ...'" },
	{ A("allow = { all }"), 1, "$/main.conf:4: access: names nobody: add "
	    "'users' or 'groups'" },
	{ "raw {\nusers = 0\n}\n", 1, "$/main.conf:1: portals: missing in "
	    "this 'raw' block: write 'portals = ...'" },
	{ "\nraw {\nportals = [::1]\n}\n", 1, "$/main.conf:2: raw: names "
	    "nobody: add 'users' or 'groups'" },
	{ "raw {\nusers = 0\nportals = { }\n}\n", 2, "$/main.conf:3: portals: "
	    "empty list: add a value or remove the key" },
	{ "raw lab { users = 0 portals = [::1] }\n", 1, "$/main.conf:1: raw: "
	    "takes no name: remove 'lab'" },
	{ A("users = { }\nallow = { all }"), 2, "$/main.conf:5: users: empty "
	    "list: add a value or remove the key" },
	{ D("user =\nlog-level = info"), 1, "$/main.conf:2: user: a value is "
	    "missing after '=': write one" },
	{ D("user = }"), 2, NULL },
	{ D("user"), 1, "$/main.conf:2: user: '=' and a value, or a block in "
	    "{ }, must follow" },
	{ D("user root"), 1, "$/main.conf:2: user: '=' and a value, or a "
	    "block in { }, must follow" },
	{ "session {\nportal = a\ntarget = iqn.2004-10.com.example:t\n}\n", 1,
	    "$/main.conf:1: session: a name is missing: write 'session NAME "
	    "{'" },
	{ "daemon main { }\n", 1, "$/main.conf:1: daemon: takes no name: "
	    "remove 'main'" },
	{ FIXTURE_SESSION("a/b") "}\n", 1, "$/main.conf:1: session: 'a/b' is "
	    "no session name: use 1 to 63 of A-Z a-z 0-9 . _ -" },
	{ FIXTURE_SESSION("''") "}\n", 1, "$/main.conf:1: session: '' is no "
	    "session name: use 1 to 63 of A-Z a-z 0-9 . _ -" },

	/* Syntax. */
	{ D("user = \"root"), 1, "$/main.conf:2: a string is not closed: a \" "
	    "is missing on this line" },
	{ "daemon {\nuser = 'root", 2, "$/main.conf:2: a string is not "
	    "closed: a ' is missing on this line" },
	{ D("user = \"a\\n\""), 1, "$/main.conf:2: in a string a backslash "
	    "stands only before \" or another backslash: double it" },
	{ D("user = \"a\tb\""), 1, "$/main.conf:2: byte 0x09 is not allowed "
	    "in a string: remove it" },
	{ D("user = root;b"), 1, "$/main.conf:2: byte 0x3b (;) is not allowed "
	    "here: write a value with it in quotes" },
	{ D("user = \xc3\xa9"), 1, "$/main.conf:2: byte 0xc3 (?) is not "
	    "allowed here: write a value with it in quotes" },
	{ D("// no"), 1, "$/main.conf:2: '//' starts no comment here: use "
	    "'#', or quotes for a value" },
	{ D("/* no */"), 1, "$/main.conf:2: '/*' starts no comment here: use "
	    "'#', or quotes for a value" },
	{ D("= 3"), 1, "$/main.conf:2: a key or the name of a block is "
	    "expected here" },
	{ "daemon { }\n}\n", 1, "$/main.conf:2: '}' closes nothing: remove "
	    "it" },
	{ "daemon {\n", 1, "$/main.conf:1: daemon: the block is not closed: "
	    "a '}' is missing" },
	{ "daemon {\nblob {\n", 3, "$/main.conf:2: blob: unknown block: "
	    "correct or remove it (there are 'daemon', 'raw', 'session NAME' "
	    "and in it 'access')" },
	{ D("user = { root }"), 1, "$/main.conf:2: user: takes one value, not "
	    "a list: remove the braces" },
	{ A("users = { root disk }\nallow = all"), 1, "$/main.conf:5: users: "
	    "in a list only a value, ',' or '}' can follow: write { VALUE, "
	    "VALUE }" },
	{ A("users = { root,\nallow = all"), 3, "$/main.conf:6: users: in a "
	    "list only a value, ',' or '}' can follow: write { VALUE, VALUE "
	    "}" },
	{ A("users = { root\nallow = all"), 1, "$/main.conf:5: users: the "
	    "list is not closed: a ',' or '}' is missing" },
	{ A("users += { root }"), 3, "$/main.conf:5: users: '=' and a value, "
	    "or a block in { }, must follow" },
	{ D("user(root)"), 1, "$/main.conf:2: user: '(' follows only "
	    "'include': write '=' and a value" },
	{ "include \"x\"\n", 1, "$/main.conf:1: include: write "
	    "include(\"PATTERN\")" },
	{ "include(\"x\" y)\n", 1, "$/main.conf:1: include: write "
	    "include(\"PATTERN\")" },
	{ "include()\n", 1, "$/main.conf:1: include: write "
	    "include(\"PATTERN\")" },
	{ D("include(\"x\")"), 1, "$/main.conf:2: include: stands in a block: "
	    "move it outside (a file holds whole blocks)" },

	/* Values of the wrong type or out of range. */
	{ D("max-clients = many"), 1, "$/main.conf:2: max-clients: 'many' is "
	    "not a number: write decimal digits" },
	{ D("max-clients = 4K"), 1, "$/main.conf:2: max-clients: '4K' is not "
	    "a number: write decimal digits" },
	{ D("max-clients = -1"), 1, "$/main.conf:2: max-clients: '-1' is not "
	    "a number: write decimal digits" },
	{ D("max-clients = 0"), 1, "$/main.conf:2: max-clients: '0' is out of "
	    "range: write 1 to 65536" },
	{ D("max-clients = 4294967297"), 1, "$/main.conf:2: max-clients: "
	    "'4294967297' is out of range: write 1 to 65536" },
	{ D("client-inbound = 64k"), 1, "$/main.conf:2: client-inbound: '64k' "
	    "is not a size: write bytes as digits, or with K, M or G after "
	    "them" },
	{ D("client-inbound = \" 64K\""), 1, NULL },
	{ D("client-inbound = \"\""), 1, NULL },
	{ D("client-inbound = 1.5M"), 1, NULL },
	{ D("client-inbound = 1MB"), 1, NULL },
	{ D("client-inbound = 99999999999G"), 1, "$/main.conf:2: "
	    "client-inbound: '99999999999G' is out of range: write 64K to "
	    "16G" },
	{ D("client-inbound = 17179869184G"), 1, NULL },
	{ D("client-inbound = 99999999999999999999999"), 1, NULL },
	{ D("client-inbound = 65535"), 1, NULL },
	{ S("max-burst-length = 16M"), 1, "$/main.conf:4: max-burst-length: "
	    "'16M' is out of range: write 512 to 16777215" },
	{ S("max-recv-data-segment-length = 511"), 1, NULL },
	{ D("abort-timeout = 15"), 1, "$/main.conf:2: abort-timeout: '15' is "
	    "not a time: write digits and ms, s or m after them" },
	{ D("abort-timeout = 1h"), 1, NULL },
	{ D("abort-timeout = 99ms"), 1, "$/main.conf:2: abort-timeout: '99ms' "
	    "is out of range: write 100ms to 60m" },
	{ D("abort-timeout = 61m"), 1, NULL },
	{ D("abort-timeout = 307445734561825861m"), 1, NULL },
	{ S("default-time2wait = 1500ms"), 1, "$/main.conf:4: "
	    "default-time2wait: '1500ms' is not whole seconds, which is all "
	    "that iSCSI can say" },
	{ S("default-time2retain = 3601s"), 1, "$/main.conf:4: "
	    "default-time2retain: '3601s' is out of range: write 0s to 60m" },
	{ S("initial-r2t = true"), 1, "$/main.conf:4: initial-r2t: 'true' is "
	    "neither yes nor no" },
	{ D("log-level = trace"), 1, "$/main.conf:2: log-level: 'trace' is no "
	    "log level: write error, warning, info or debug" },
	{ D("data-socket-mode = 0999"), 1, "$/main.conf:2: data-socket-mode: "
	    "'0999' is not a mode: write 3 or 4 octal digits, 0000 to 0777" },
	{ D("data-socket-mode = 4755"), 1, NULL },
	{ D("data-socket-mode = 7"), 1, NULL },
	{ D("data-socket = data.sock"), 1, NULL },
	{ D("data-socket = /a\ncontrol-socket = /a"), 1, "$/main.conf:3: "
	    "control-socket: the same path as data-socket: change one of "
	    "them" },
	{ S("startup = onboot"), 1, "$/main.conf:4: startup: 'onboot' is "
	    "neither automatic nor manual" },
	{ R("unchecked = all"), 1, "$/main.conf:2: unchecked: 'all' is "
	    "neither yes nor no" },
	{ R("users = no_such_user"), 1, "$/main.conf:2: users: there is no "
	    "user 'no_such_user': correct it or create the user" },
	{ P("192.0.2.1/24"), 1, "$/main.conf:3: portals: '192.0.2.1/24' is no "
	    "range of portals: behind the prefix the address has only zero "
	    "bits (write ADDRESS, ADDRESS/PREFIX:PORT or "
	    "[IPV6]/PREFIX:PORT)" },
	{ P("disk.example.com"), 1, "$/main.conf:3: portals: "
	    "'disk.example.com' is no range of portals: it begins with an "
	    "IPv4 address, or with an IPv6 address in [brackets]; names are "
	    "not looked up (write ADDRESS, ADDRESS/PREFIX:PORT or "
	    "[IPV6]/PREFIX:PORT)" },
	{ P("192.0.2.0/33"), 1, "$/main.conf:3: portals: '192.0.2.0/33' is no "
	    "range of portals: after '/' come at most as many bits as the "
	    "address has (write ADDRESS, ADDRESS/PREFIX:PORT or "
	    "[IPV6]/PREFIX:PORT)" },
	{ P("192.0.2.1:0"), 1, "$/main.conf:3: portals: '192.0.2.1:0' is no "
	    "range of portals: at the end comes nothing, or ':' and a port, "
	    "1 to 65535, or ':*' (write ADDRESS, ADDRESS/PREFIX:PORT or "
	    "[IPV6]/PREFIX:PORT)" },
	{ P("{ 192.0.2.1,\n[::3]/127,\nlocalhost }"), 2, "$/main.conf:4: "
	    "portals: '[::3]/127' is no range of portals: behind the prefix "
	    "the address has only zero bits (write ADDRESS, "
	    "ADDRESS/PREFIX:PORT or [IPV6]/PREFIX:PORT)" },
	{ S("async-logout = never"), 1, "$/main.conf:4: "
	    "async-logout: 'never' is neither logout nor drop" },
	{ S("digest-byte-order = native"), 1, "$/main.conf:4: "
	    "digest-byte-order: 'native' is neither little nor big" },
	{ S("header-digest = \"CRC32C,None\""), 1, "$/main.conf:4: "
	    "header-digest: 'CRC32C,None' is no digest: write CRC32C, None or "
	    "{ CRC32C, None }" },
	{ S("first-burst-length = 512K"), 1, "$/main.conf:4: "
	    "first-burst-length: first-burst-length (512K) must not be more "
	    "than max-burst-length (256K): change one of them" },
	{ S("max-burst-length = 4096"), 1, "$/main.conf:4: max-burst-length: "
	    "first-burst-length (64K) must not be more than max-burst-length "
	    "(4K): change one of them" },
	{ S("isid = 80112233445"), 1, "$/main.conf:4: isid: '80112233445' is "
	    "no ISID: write 12 hexadecimal digits" },
	{ S("isid = 0xc01122334455"), 1, "$/main.conf:4: isid: "
	    "'0xc01122334455' has a reserved type: the first digit is 0 to b, "
	    "8 for a random ISID" },
	{ FIXTURE_SESSION("a") "isid = 801122334455\n}\n"
	    FIXTURE_SESSION("b") "isid = 0x801122334455\n}\n", 1,
	    "$/main.conf:9: isid: session 'a' has the same one and the same "
	    "target: change it" },

	/* Users, groups and what they may. */
	{ D("user = no_such_user"), 1, "$/main.conf:2: user: there is no user "
	    "'no_such_user': correct it or create the user" },
	{ D("data-socket-group = no_such_group"), 1, "$/main.conf:2: "
	    "data-socket-group: there is no group 'no_such_group': correct it "
	    "or create the group" },
	{ A("users = { root,\nno_such_user }\nallow = all"), 1,
	    "$/main.conf:6: users: there is no user 'no_such_user': correct "
	    "it or create the user" },
	{ A("groups = 4294967295\nallow = all"), 1, "$/main.conf:5: groups: "
	    "there is no group '4294967295': correct it or create the group" },
	{ A("users = { \"\" }\nallow = all"), 1, NULL },
	{ A("users = { 0 }\nallow = { read, all }"), 1, "$/main.conf:6: "
	    "allow: 'read' is not available in this version: use all, write or "
	    "reset" },
	{ A("users = { 0 }\nallow = { all, write, manage, reset, "
	    "task-attributes, exclusive }"), 5, NULL },
	{ A("users = { 0 }\nallow = { write, reset, write }"), 1,
	    "$/main.conf:6: allow: 'write' is repeated, or part of 'all': "
	    "remove it" },
	{ A("users = { 0 }\nallow = reset"), 1, "$/main.conf:6: allow: "
	    "'reset' goes with 'write': use { write, reset }" },
	{ A("users = { 0 }\nallow = everything"), 1, "$/main.conf:6: allow: "
	    "'everything' is unknown: use all, write or reset" },
	{ A("users = { 0 }\nallow = all\nluns = { 1 }"), 1, "$/main.conf:7: "
	    "luns: not available yet: rules are all-or-nothing in this "
	    "version, remove it to allow all LUNs" },
};

/* NULL as the first text: any text will do, with the right file and line. */
START_TEST(one_case)
{
	struct fixture fx;
	size_t i = (size_t)_i;

	fixture_init(&fx);
	ck_assert_int_eq(fixture_load_text(&fx, cases[i].text), -EINVAL);
	ck_assert_ptr_null(fx.cfg);
	ck_assert_msg(fx.errs.total == cases[i].errors, "%s\n%zu errors: %s",
	    cases[i].text, fx.errs.total, fx.errs.text[0]);
	if (cases[i].first != NULL)
		fixture_error_is(&fx, 0, cases[i].first);
	else
		ck_assert_ptr_nonnull(strstr(fx.errs.text[0], "/main.conf:"));
	fixture_free(&fx);
}
END_TEST

/* Portals, names and the like: value, and whether it is one. */
static const struct {
	const char	*key;
	const char	*value;
} bad_values[] = {
	{ "portal", "" }, { "portal", ":3260" }, { "portal", "::1" },
	{ "portal", "fe80::1:3260" }, { "portal", "[::1" },
	{ "portal", "[::1]3260" }, { "portal", "[::1]:" },
	{ "portal", "[127.0.0.1]" }, { "portal", "[fe80::1%]" },
	{ "portal", "a:0" }, { "portal", "a:65536" }, { "portal", "a:+1" },
	{ "portal", "a:99999999999999999999" }, { "portal", "a:b" },
	{ "portal", "a:1:2" }, { "portal", "1.2.3" }, { "portal", "1.2.3.256" },
	{ "portal", "a b" }, { "portal", "-a" }, { "portal", ".a" },
	{ "portal", "[]" }, { "portal", "[fe80::1%abcdefghijklmnopqrst]" },
	{ "portals", "" }, { "portals", ":3260" }, { "portals", "*" },
	{ "portals", "::1" }, { "portals", "[::1" }, { "portals", "[]" },
	{ "portals", "[::1]3260" }, { "portals", "[::1]:" },
	{ "portals", "[127.0.0.1]" }, { "portals", "[fe80::1%lo]" },
	{ "portals", "[::1]/129" }, { "portals", "[::1]/" },
	{ "portals", "[::1]/-1" }, { "portals", "[::1]/128/128" },
	{ "portals", "[::1/128]" }, { "portals", "[::1]/0128" },
	{ "portals", "[::ffff:192.0.2.1]/120" }, { "portals", "[8000::]/0" },
	{ "portals", "1.2.3" }, { "portals", "1.2.3.256" },
	{ "portals", "1.2.3.4/" }, { "portals", "1.2.3.4/x" },
	{ "portals", "1.2.3.4/31:*x" }, { "portals", "1.2.3.4:65536" },
	{ "portals", "1.2.3.4:" }, { "portals", "1.2.3.4:**" },
	{ "portals", "1.2.3.4:1/32" }, { "portals", "1.2.3.4 " },
	{ "portals", "1.2.3.5/31" }, { "portals", "1.2.3.4/4294967328" },
	{ "portals", "0x1.2.3.4" }, { "portals", "localhost" },
	{ "portals", "1.2.3.4,1.2.3.5" },
	{ "portals", "0000:0000:0000:0000:0000:0000:0000:0000:0000:0001" },
	{ "target", "" }, { "target", "disk" }, { "target", "iqn.2004" },
	{ "target", "iqn.2004-13.com.example" },
	{ "target", "iqn.2004-00.com.example" },
	{ "target", "iqn.2004-10." }, { "target", "iqn.2004-10.:x" },
	{ "target", "iqn.04-10.com" }, { "target", "iqn.2004-10.com:a b" },
	{ "target", "eui.123456789abcdef" }, { "target", "IQN.2004-10.com" },
	{ "target", "eui.0123456789abcdeg" }, { "target", "naa.0123" },
	{ "target", "iqn.2004-10.com:\xc3\xa9" },
};

START_TEST(bad_value)
{
	struct fixture fx;
	char text[512], expected[128];
	const char *key = bad_values[_i].key;
	bool raw = strcmp(key, "portals") == 0;

	fixture_init(&fx);
	snprintf(text, sizeof(text), "%s {\n%s = \"%s\"\n%s\n}\n",
	    raw ? "raw" : "session s", key, bad_values[_i].value,
	    raw ? "users = 0" : strcmp(key, "portal") == 0 ?
	    "target = " FIXTURE_IQN "t" : "portal = a");
	ck_assert_int_eq(fixture_load_text(&fx, text), -EINVAL);
	ck_assert_uint_eq(fx.errs.total, 1);
	snprintf(expected, sizeof(expected), "/main.conf:2: %s: '%s' is no ",
	    key, bad_values[_i].value);
	ck_assert_msg(strstr(fx.errs.text[0], expected) != NULL, "%s",
	    fx.errs.text[0]);
	fixture_free(&fx);
}
END_TEST

/* All errors are told, in their order, up to the bound. */
START_TEST(many)
{
	struct fixture fx;
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	fixture_init(&fx);
	ck_assert_int_eq(fixture_load_text(&fx, "daemon {\nuser\n"
	    "log-level = \"x\ncolour = 1\nhello-timeout = 3\n}\n"
	    "session s {\n portal = ::1\n access { users = { 0 } }\n}\n"),
	    -EINVAL);
	ck_assert_uint_eq(fx.errs.total, 7);
	fixture_error_is(&fx, 3, "$/main.conf:5: hello-timeout: '3' is not a "
	    "time: write digits and ms, s or m after them");

	fputs("daemon {\n", f);
	for (int i = 0; i < 100; i++)
		fprintf(f, "key%d = 1\n", i);
	fputs("}\n", f);
	fclose(f);
	ck_assert_int_eq(fixture_load_text(&fx, text), -EINVAL);
	ck_assert_uint_eq(fx.errs.total, 100);
	ck_assert_uint_eq(fx.errs.count, CONFIG_ERRORS_MAX);
	ck_assert_ptr_nonnull(strstr(fx.errs.text[19], ":21: key19: "));
	free(text);
	fixture_free(&fx);
}
END_TEST

/* Nothing that is cut off at any byte crashes or passes half-read. */
START_TEST(cut_anywhere)
{
	static const char text[] = "daemon { user = \"root\" }\n"
	    "session s {\nportal = '[::1]:1'\ntarget = iqn.2004-10.com.example"
	    "\nheader-digest = { CRC32C, None, }\naccess {\nusers = { 0 } "
	    "allow = all }\n}\n# end";
	struct fixture fx;
	char part[sizeof(text)];

	fixture_init(&fx);
	for (size_t n = 26; n < strlen(text) - 6; n++) {
		strlcpy(part, text, n + 1);
		ck_assert_int_eq(fixture_load_text(&fx, part), -EINVAL);
		ck_assert_uint_gt(fx.errs.total, 0);
	}
	fixture_good(&fx, text);
	fixture_free(&fx);
}
END_TEST

/* Any byte put in the place of any other is read or refused, no more. */
START_TEST(any_byte)
{
	static const char text[] = "daemon{user=0}\nsession s{portal='a'\n"
	    "target=iqn.2004-10.a\naccess{users={0,1}allow=all}}\n";
	static const char bytes[] = "\"'={},()#;\\\n\t\r /*\x7f\xff\x01$";
	struct fixture fx;
	char changed[sizeof(text)];
	int error;

	fixture_init(&fx);
	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		for (size_t b = 0; b < sizeof(bytes); b++) {
			memcpy(changed, text, sizeof(text));
			changed[i] = bytes[b];
			fixture_write(&fx, "initiator.iscsi",
			    "InitiatorName=" FIXTURE_IQN "i\n");
			fixture_write_bytes(&fx, "main.conf", changed,
			    sizeof(text) - 1);
			error = fixture_load(&fx);
			ck_assert_int_eq(error,
			    fx.errs.total > 0 ? -EINVAL : 0);
		}
	}
	fixture_free(&fx);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("config_errors");
	TCase *tc = tcase_create("errors");

	tcase_add_loop_test(tc, one_case, 0,
	    (int)(sizeof(cases) / sizeof(cases[0])));
	tcase_add_loop_test(tc, bad_value, 0,
	    (int)(sizeof(bad_values) / sizeof(bad_values[0])));
	tcase_add_test(tc, many);
	tcase_add_test(tc, cut_anywhere);
	tcase_add_test(tc, any_byte);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(suite, tc);
	return unit_run(suite);
}
