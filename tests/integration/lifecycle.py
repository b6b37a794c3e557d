#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The daemon as a program: configuration, sockets, users, start and end."""

import contextlib
import os
import pwd
import re
import shlex
import shutil
import signal
import socket
import stat
import struct
import tempfile

from harness import (PATIENCE, TIMEOUT, Process, Skip, check, check_equal,
                     connects, defer, free_port, installed, main, program,
                     run, scaled, test, tmp, wait_until)
from iscsimuxd import Daemon, RpcError, config_text, session
from sharing_worker import Worker
from target_client import Target

IQN = "iqn.2026-01.org.example:nobody"
NOBODY = 65534
SHORT = f"{0.3 * PATIENCE:g}"
# Seconds that a CLI waits for what will not come.


def daemon_command(*args):
    """The command line of the daemon, under valgrind where that is asked."""
    return [*shlex.split(os.environ.get("VALGRIND", "")),
            program("ISCSIMUXD"), *args]


def need_root():
    """Skips the test for those who may not become somebody else."""
    if os.getuid() != 0:
        raise Skip("needs root")


def public_directory():
    """A directory that every user may look into."""
    path = tempfile.mkdtemp(prefix="imux.", dir="/tmp")
    defer(lambda: shutil.rmtree(path))
    os.chmod(path, 0o755)
    return path


def portal_of_nobody():
    """Where nothing listens."""
    return f"127.0.0.1:{free_port()}"


def nowhere(name="disk"):
    """The configuration of a session whose target is not there."""
    return session(name, portal_of_nobody(), IQN, reconnect_interval="60s")


def again(first, *sessions, **options):
    """A daemon, not waited for, on the sockets of another one."""
    daemon = Daemon(*sessions, wait=False, data_socket=first.data_socket,
                    control_socket=first.control_socket, **options)
    daemon.data_socket = first.data_socket
    daemon.control_socket = first.control_socket
    return daemon


# --- Configuration

GOOD = f"""\
session disk {{
    portal = "127.0.0.1:3260"
    target = "{IQN}"
}}
"""

MISTAKES = (
    ("daemon {\n    colour = red\n}\n", 2, "colour", "unknown key"),
    ("daemon {\n    user = root\n    user = root\n}\n", 3, "user",
     "repeated"),
    (f"session disk {{\n    target = \"{IQN}\"\n}}\n", 1, "portal",
     "missing"),
    ("session disk {\n    portal = localhost\n}\n", 1, "target", "missing"),
    ("daemon {\n    max-clients = many\n}\n", 2, "max-clients", ""),
    ("daemon {\n    abort-timeout = 15\n}\n", 2, "abort-timeout", ""),
    ("daemon {\n    log-level = loud\n}\n", 2, "log-level", ""),
    ("daemon {\n    allow-fault-injection = perhaps\n}\n", 2,
     "allow-fault-injection", ""),
    ("daemon {\n    data-socket = relative.sock\n}\n", 2, "data-socket", ""),
    (f"daemon {{\n    data-socket = /tmp/{'x' * 120}\n}}\n", 2,
     "data-socket", ""),
    ("daemon {\n    initiator-name = nobody\n}\n", 2, "initiator-name", ""),
    (GOOD + GOOD, 5, "session", "repeated"),
    (GOOD.replace("127.0.0.1:3260", "127.0.0.1:99999"), 2, "portal", ""),
    (GOOD.replace("}", "    header-digest = MD5\n}"), 4, "header-digest",
     ""),
    (GOOD.replace("}", "    access {\n        users = { root }\n    }\n}"),
     4, "allow", "missing"),
    (GOOD.replace("disk", "a/b"), 1, "session", "no session name"),
)


def named(config):
    """config with an initiator name, which not every machine has."""
    line = f"    initiator-name = \"{IQN}\"\n"
    if "initiator-name" in config:
        return config
    if config.startswith("daemon {"):
        return config.replace("\n}\n", "\n" + line + "}\n", 1)
    return config + "daemon {\n" + line + "}\n"


@test("mistakes in the configuration: status 2, file, line and key")
def mistakes():
    for text, line, key, words in MISTAKES:
        path = tmp("iscsimuxd.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(named(text))
        pattern = re.escape(f"{path}:{line}: {key}: ") + r"\S"
        for args in (("--check-config", path), ("-f", "-c", path)):
            done = run(daemon_command(*args), check_status=2)
            lines = done.stderr.splitlines()
            check_equal(len(lines), 1, f"lines about {text!r}: {lines}")
            check(re.match(pattern, lines[0]) and words in lines[0],
                  f"{text!r}: {lines[0]!r}")
            check_equal(done.stdout, "", "standard output")


@test("each mistake of a file is told, not the first one only")
def several_mistakes():
    path = tmp("iscsimuxd.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write(named("daemon {\n  colour = red\n  log-level = loud\n}\n"
                         "session s {\n}\n"))
    done = run(daemon_command("--check-config", path), check_status=2)
    check_equal([line.split(": ")[1] for line in done.stderr.splitlines()],
                ["colour", "log-level", "portal", "target"], "keys at fault")


@test("a good configuration is told to be one, and files in conf.d count")
def good_configuration():
    directory = tmp("conf")
    os.makedirs(os.path.join(directory, "conf.d"))
    path = os.path.join(directory, "iscsimuxd.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"daemon {{\n  initiator-name = \"{IQN}\"\n}}\n")
    for name in ("one", "two"):
        with open(os.path.join(directory, "conf.d", f"{name}.conf"), "w",
                  encoding="utf-8") as file:
            file.write(GOOD.replace("disk", name))
    done = run(daemon_command(f"--check-config={path}"))
    check_equal(done.stdout, f"{path}: ok, 2 sessions\n", "output")


@test("the example configuration is good, as it is and with every key")
def example():
    path = os.path.join(os.environ["top_srcdir"], "daemon",
                        "iscsimuxd.conf.example")
    if not os.path.exists("/etc/iscsi/initiatorname.iscsi"):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        path = tmp("example.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(re.sub(r"#(daemon \{|initiator-name = .*)", r"\1",
                              text).replace("#}", "}", 1))
    done = run(daemon_command("--check-config", path))
    check("ok, 0 sessions" in done.stdout, f"{done.stdout!r}")


@test("a missing or unreadable configuration file: status 2")
def no_configuration():
    for path in ("/nonexistent/iscsimuxd.conf", tmp("directory")):
        if not path.startswith("/nonexistent"):
            os.mkdir(path)
        for args in (("--check-config", path), ("-c", path)):
            done = run(daemon_command(*args), check_status=2)
            check(path in done.stderr, f"no path in {done.stderr!r}")
            check_equal(len(done.stderr.splitlines()), 1, "lines")


# --- The programs

MANUALS = (("ISCSIMUXD", "daemon/iscsimuxd.8"),
           ("ISCSIMUX", "client/iscsimux.1"),
           ("ISCSIMUXCTL", "client/iscsimuxctl.8"))


@test("--help names each option of the manual, --version the version")
def help_and_version():
    for variable, manual in MANUALS:
        command = [program(variable)]
        name = os.path.basename(command[0])
        told = run([*command, "--version"])
        check(re.fullmatch(name + r" \d+\.\d+\.\d+\S*\n", told.stdout),
              f"version: {told.stdout!r}")
        check_equal(run([*command, "-V"]).stdout, told.stdout, "-V")
        text = run([*command, "--help"]).stdout
        check_equal(run([*command, "-h"]).stdout, text, "-h")
        if variable == "ISCSIMUX":
            for command_name in re.findall(r"^  ([a-z]+) ", text,
                                           re.MULTILINE):
                text += run([*command, "--help", command_name]).stdout
        path = os.path.join(os.environ["top_srcdir"], manual)
        with open(path, encoding="utf-8") as file:
            items = re.findall(r"^\.It (Fl .*)$", file.read(), re.MULTILINE)
        options = {"-" + option for item in items for option in
                   re.findall(r"Fl ([-A-Za-z]+)", item)}
        check(len(options) >= 8, f"only {options} in {manual}")
        for option in options:
            check(re.search(rf"(^|[\s,\[]){option}\b", text, re.MULTILINE),
                  f"{name} --help does not name {option}")


@test("wrong options: status 2 and a hint, by all three programs")
def wrong_options():
    for variable, _ in MANUALS:
        for args in (["--colour"], ["-Z"]):
            done = run([program(variable), *args], check_status=2)
            check("--help" in done.stderr, f"{variable} {args}: "
                  f"{done.stderr!r}")
            check_equal(done.stdout, "", "standard output")
    done = run([program("ISCSIMUXD"), "extra"], check_status=2)
    check("extra" in done.stderr, f"{done.stderr!r}")


@test("no daemon: status 3 of both programs, with the path")
def no_daemon():
    for path in ("/nonexistent/x.sock", tmp("stale.sock")):
        if not path.startswith("/nonexistent"):
            with socket.socket(socket.AF_UNIX) as dead:
                dead.bind(path)
        for command in ([program("ISCSIMUX"), "-S", path, "list"],
                        [program("ISCSIMUX"), "-S", path, "read", "disk",
                         tmp("out")],
                        [program("ISCSIMUXCTL"), "-S", path, "info"]):
            done = run(command, check_status=3)
            check(path in done.stderr, f"no path in {done.stderr!r}")
            check_equal(len(done.stderr.splitlines()), 1, "lines")


# --- Sockets

@test("a second daemon ends with status 3 and leaves the first alone")
def second_daemon():
    first = Daemon(nowhere())
    control = first.control()
    before = control.call("daemon.info")["pid"]
    for keys in ({}, {"data_socket": tmp("other.sock")},
                 {"control_socket": tmp("other.sock")}):
        wanted = {"data_socket": first.data_socket,
                  "control_socket": first.control_socket, **keys}
        second = Daemon(nowhere(), wait=False, status_wanted=None, **wanted)
        second.expect_exit(3)
        lines = [line for line in second.log().splitlines()
                 if "another iscsimuxd" in line]
        check_equal(len(lines), 1, "lines about it")
        check(any(path in lines[0] for path in wanted.values()),
              f"no path in {lines[0]!r}")
    check_equal(control.call("daemon.info")["pid"], before, "pid")
    check_equal(first.call("daemon.info")["pid"], before, "pid")
    check("disk" in first.iscsimux("list").stdout, "no session is listed")
    check_equal(first.stop(), 0, "exit status of the first")
    check_equal(os.listdir(os.path.dirname(first.data_socket)),
                ["iscsimuxd.conf"], "what is left")


@test("a second daemon with the same pid file ends with status 3, too")
def pid_file():
    path = tmp("pid")
    first = Daemon(nowhere(), options=["--pidfile", path])
    with open(path, encoding="utf-8") as file:
        check_equal(int(file.read()), first.call("daemon.info")["pid"],
                    "content")
    second = Daemon(nowhere(), wait=False, status_wanted=None,
                    options=["-p", path])
    second.expect_exit(3)
    check(path in second.log() and str(first.pid) in second.log(),
          f"{second.log()!r}")
    check_equal(first.stop(), 0, "exit status of the first")
    check(not os.path.exists(path), "the pid file is left")


@test("socket files of a daemon that was killed are replaced")
def stale_sockets():
    first = Daemon(nowhere())
    first.crash()
    check(os.path.exists(first.data_socket), "no file was left")
    check(not connects(first.data_socket), "somebody listens")
    second = again(first, nowhere())
    second.wait_ready()
    check("disk" in second.iscsimux("list").stdout, "no session is listed")
    check_equal(second.stop(), 0, "exit status")
    check(not os.path.exists(first.data_socket), "the file is left")


@test("a file that is no socket is left alone: status 1")
def file_in_the_way():
    path = tmp("precious")
    with open(path, "w", encoding="utf-8") as file:
        file.write("precious")
    daemon = Daemon(nowhere(), wait=False, status_wanted=None,
                    data_socket=path)
    daemon.expect_exit(1)
    check(path in daemon.log() and "no socket" in daemon.log(),
          f"{daemon.log()!r}")
    with open(path, encoding="utf-8") as file:
        check_equal(file.read(), "precious", "the file")


@test("a directory that is missing is made; where that cannot be: status 1")
def directories():
    made = os.path.join(tmp("new"), "data.sock")
    daemon = Daemon(nowhere(), wait=False, data_socket=made)
    daemon.data_socket = made
    daemon.wait_ready()
    check_equal(stat.S_IMODE(os.stat(os.path.dirname(made)).st_mode), 0o755,
                "mode of the directory")
    check_equal(daemon.stop(), 0, "exit status")
    for path in (os.path.join(tmp("a"), "b", "data.sock"),
                 "/dev/null/data.sock", "/proc/iscsimuxd/data.sock"):
        daemon = Daemon(nowhere(), wait=False, status_wanted=None,
                        data_socket=path)
        daemon.expect_exit(1)
        check(path in daemon.log(), f"no path in {daemon.log()!r}")
        check(not os.path.exists(daemon.control_socket),
              "the control socket is left")


@test("a directory in which the daemon's user may not write: status 1")
def unwritable_directory():
    need_root()
    base = public_directory()
    path = os.path.join(base, "data.sock")
    config = os.path.join(base, "iscsimuxd.conf")
    with open(config, "w", encoding="utf-8") as file:
        file.write(config_text({"daemon": {
            "data_socket": path, "control_socket": path + ".control",
            "initiator_name": IQN}}))
    binary = os.path.join(base, "iscsimuxd")
    shutil.copy(program("ISCSIMUXD"), binary)
    done = run([*as_nobody(), binary, "-c", config], check_status=1)
    check(path in done.stderr and "Permission denied" in done.stderr,
          f"{done.stderr!r}")


def as_nobody():
    """A command that runs the rest of its arguments as nobody."""
    return [installed("setpriv"), f"--reuid={NOBODY}", f"--regid={NOBODY}",
            "--clear-groups"]


@test("a signal as soon as the sockets are there is obeyed in order")
def signal_at_start():
    for _ in range(scaled(10, 3)):
        daemon = Daemon(nowhere(), wait=False)
        # No pause between tries: the signal is to come at once.
        while daemon.alive() and not connects(daemon.data_socket):
            pass
        check_equal(daemon.stop(), 0, "exit status")
        check(not os.path.exists(daemon.data_socket), "the socket is left")


@test("modes of the sockets: 0660 and 0600, or as the configuration says")
def socket_modes():
    daemon = Daemon(nowhere())
    for path, mode in ((daemon.data_socket, 0o660),
                       (daemon.control_socket, 0o600)):
        check_equal(stat.S_IMODE(os.stat(path).st_mode), mode, path)
    check_equal(daemon.stop(), 0, "exit status")
    daemon = Daemon(nowhere(), data_socket_mode="0666")
    check_equal(stat.S_IMODE(os.stat(daemon.data_socket).st_mode), 0o666,
                "mode")


class Other:
    """What another user gets from a socket, asked by a forked child."""

    def __init__(self, path, request=b"", size=65536):
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read_end)
            os.write(write_end, self._ask(path, request, size))
            os._exit(0)
        os.close(write_end)
        with os.fdopen(read_end, "rb") as file:
            said = file.read()
        check_equal(os.waitpid(pid, 0)[1], 0, "status of the child")
        self.error = said[6:].decode() if said.startswith(b"error:") else None
        self.answer = said

    @staticmethod
    def _ask(path, request, size):
        answer = b""
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            with socket.socket(socket.AF_UNIX) as peer:
                peer.settimeout(TIMEOUT * PATIENCE)
                peer.connect(path)
                # Who is turned away at once has an answer to read, too.
                with contextlib.suppress(BrokenPipeError):
                    peer.sendall(request)
                    peer.shutdown(socket.SHUT_WR)
                while True:
                    piece = peer.recv(size)
                    if not piece:
                        break
                    answer += piece
        except ConnectionResetError:
            pass
        except OSError as error:
            return f"error:{type(error).__name__}".encode()
        return answer


def frame(kind, payload, cookie):
    """A frame of the data socket."""
    return struct.pack(">IHHQ", len(payload), kind, 0, cookie) + payload


def text(string):
    """A string of the data socket."""
    return bytes([len(string)]) + string.encode()


@test("nobody may use neither socket, nor a session without a rule for him")
def no_permission():
    need_root()
    base = public_directory()
    paths = {"data_socket": os.path.join(base, "data.sock"),
             "control_socket": os.path.join(base, "control.sock")}
    daemon = Daemon(nowhere(), wait=False, **paths)
    vars(daemon).update(paths)
    daemon.wait_ready()
    for path in paths.values():
        check_equal(Other(path).error, "PermissionError", path)
    check_equal(daemon.stop(), 0, "exit status")
    open_to_nobody = session("open", portal_of_nobody(), IQN,
                             access={"users": ["nobody"], "allow": ["all"]},
                             reconnect_interval="60s")
    daemon = Daemon(nowhere("closed"), open_to_nobody, wait=False,
                    data_socket_mode="0666", **paths)
    vars(daemon).update(paths)
    daemon.wait_ready()
    hello = frame(1, struct.pack(">IHHQ", 0x694d5558, 1, 1, 0) + text("n"), 1)
    listed = Other(daemon.data_socket, hello + frame(5, b"", 2)).answer
    check(b"open" in listed and b"closed" not in listed,
          f"LISTING is wrong: {listed!r}")
    for name, wanted in (("closed", False), ("open", True),
                         ("missing", False)):
        attach = frame(2, struct.pack(">IIII", 0, 0, 0, 0) + text(name), 2)
        answer = Other(daemon.data_socket, hello + attach).answer
        (length,) = struct.unpack_from(">I", answer)
        (kind,) = struct.unpack_from(">H", answer[16 + length:], 4)
        check_equal(kind, 0x42 if wanted else 0x46, f"answer about {name}")
    os.chmod(daemon.control_socket, 0o666)
    told = Other(daemon.control_socket, b'{"jsonrpc":"2.0","id":1,'
                 b'"method":"daemon.stop"}\n').answer
    check(b"-32000" in told and b"stopping" not in told, f"{told!r}")
    check(daemon.alive(), "nobody has stopped the daemon")
    check_equal(daemon.stop(), 0, "exit status")


@test("both programs tell nobody that he is not permitted: status 3")
def programs_not_permitted():
    need_root()
    base = public_directory()
    paths = {"data_socket": os.path.join(base, "data.sock"),
             "control_socket": os.path.join(base, "control.sock")}
    daemon = Daemon(nowhere(), wait=False, **paths)
    vars(daemon).update(paths)
    daemon.wait_ready()
    for variable, args in (("ISCSIMUX", ["list"]),
                           ("ISCSIMUX", ["wait", "disk"]),
                           ("ISCSIMUXCTL", ["info"])):
        path = program(variable)
        if run([*as_nobody(), "test", "-x", path],
               check_status=None).returncode != 0:
            raise Skip("nobody cannot reach the build folder")
        done = run([*as_nobody(), path, *args], check_status=3,
                   env=daemon.client_env())
        check("ermi" in done.stderr and base in done.stderr,
              f"{done.stderr!r}")
    os.chmod(daemon.control_socket, 0o666)
    done = run([*as_nobody(), program("ISCSIMUXCTL"), "info"],
               check_status=3, env=daemon.client_env())
    check("only root" in done.stderr, f"{done.stderr!r}")


# --- Users

@test("root without the user iscsimuxd: status 2, and what to do")
def missing_user():
    need_root()
    try:
        pwd.getpwnam("iscsimuxd")
        raise Skip("this machine has the user iscsimuxd")
    except KeyError:
        pass
    daemon = Daemon(wait=False, status_wanted=None,
                    config=config_text({"daemon": {
                        "data_socket": tmp("d"), "control_socket": tmp("c"),
                        "initiator_name": IQN}}))
    daemon.expect_exit(2)
    log = daemon.log()
    check_equal(len(log.splitlines()), 1, "lines")
    for words in ('"iscsimuxd"', "does not exist", "user = root"):
        check(words in log, f"no {words!r} in {log!r}")
    other = Daemon(nowhere(), wait=False, status_wanted=None,
                   options=["-u", "no-such-user"])
    other.expect_exit(2)
    check("no-such-user" in other.log(), f"{other.log()!r}")


@test("started by root for another user, it is that user")
def another_user():
    need_root()
    base = os.path.join(public_directory(), "run")
    paths = {"data_socket": os.path.join(base, "data.sock"),
             "control_socket": os.path.join(base, "control.sock")}
    daemon = Daemon(nowhere(), wait=False, user="nobody", **paths)
    vars(daemon).update(paths)
    daemon.wait_ready()
    check_equal(daemon.call("daemon.info")["uid"], NOBODY, "uid")
    with open(f"/proc/{daemon.pid}/status", encoding="utf-8") as file:
        told = dict(line.rstrip("\n").split(":\t", 1) for line in file
                    if ":\t" in line)
    check_equal(told["Uid"].split(), [str(NOBODY)] * 4, "uids")
    check_equal(told["Gid"].split(), [str(NOBODY)] * 4, "gids")
    check(not {"0"} & set(told["Groups"].split()), "it kept a group of root")
    for path in (base, *paths.values()):
        check_equal(os.stat(path).st_uid, NOBODY, f"owner of {path}")
    check_equal(daemon.stop(), 0, "exit status")
    check_equal(os.listdir(base), [], "what is left")


# --- The service manager

class Notify:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self):
        self.path = tmp("notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(TIMEOUT * PATIENCE)
        defer(self.socket.close)

    def next(self):
        """The next message."""
        return self.socket.recv(4096).decode()


@test("the service manager is told READY and STOPPING")
def notify():
    manager = Notify()
    daemon = Daemon(nowhere(), wait=False,
                    env={"NOTIFY_SOCKET": manager.path})
    check("READY=1" in manager.next().splitlines(), "no READY=1")
    check(connects(daemon.data_socket) and connects(daemon.control_socket),
          "it was not ready")
    check_equal(daemon.stop(), 0, "exit status")
    check("STOPPING=1" in manager.next().splitlines(), "no STOPPING=1")


@test("sockets that the service manager passes are used, and left alone")
def activation():
    manager = Notify()
    base = tmp("activated")
    os.mkdir(base)
    data, control = (os.path.join(base, name) for name in ("d", "c"))
    config = os.path.join(base, "conf")
    with open(config, "w", encoding="utf-8") as file:
        section = {"initiator_name": IQN, "data_socket": tmp("unused.data"),
                   "control_socket": tmp("unused.control")}
        if os.getuid() == 0:
            section["user"] = "root"
        file.write(config_text({"daemon": section}) + nowhere())
    daemon = Process([installed("systemd-socket-activate"),
                      "--fdname=data:control", "-l", data, "-l", control,
                      "-E", f"NOTIFY_SOCKET={manager.path}",
                      *(f"--setenv={name}" for name in ("LSAN_OPTIONS",
                        "ASAN_OPTIONS", "UBSAN_OPTIONS", "PATH")
                        if name in os.environ),
                      *daemon_command("-f", "-c", config)],
                     "iscsimuxd-activated", status_wanted=0)
    wait_until(lambda: os.path.exists(control), "the sockets")
    env = {"ISCSIMUX_SOCKET": data, "ISCSIMUX_CONTROL": control}
    first = run([program("ISCSIMUX"), "list"], env=env)
    check("disk" in first.stdout, f"{first.stdout!r} {first.stderr!r}")
    check("READY=1" in manager.next().splitlines(), "no READY=1")
    told = run([program("ISCSIMUXCTL"), "--json", "info"], env=env).stdout
    check(f'"pid": {daemon.pid}' in told, f"another process: {told}")
    for path in (data, control):
        check(f'"{path}"' in told, f"{path} is not in {told}")
    check_equal(len(re.findall("ready", daemon.log())), 1, "starts")
    check_equal(daemon.stop(), 0, "exit status")
    check(os.path.exists(data) and os.path.exists(control),
          "the daemon removed what is not its own")
    check(not os.path.exists(section["data_socket"]), "it opened its own")


@test("in the journal each line has its priority")
def journal_priorities():
    base = tmp("journal")
    os.mkdir(base)
    config = os.path.join(base, "conf")
    section = {"initiator_name": IQN,
               "data_socket": os.path.join(base, "data.sock"),
               "control_socket": os.path.join(base, "control.sock")}
    if os.getuid() == 0:
        section["user"] = "root"
    with open(config, "w", encoding="utf-8") as file:
        file.write(config_text({"daemon": section}) + nowhere())
    daemon = Process(
        ["sh", "-c", 'JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2); '
         'export JOURNAL_STREAM; exec "$@"', "sh",
         *daemon_command("-f", "-c", config)], status_wanted=0)
    daemon.wait_line("^<6>iscsimuxd .* ready")
    daemon.wait_line("^<4>session disk: .*refused")
    check_equal(daemon.stop(), 0, "exit status")
    check(all(re.match("<[3467]>", line)
              for line in daemon.log().splitlines()
              if not line.startswith("==")), "a line without priority")


@test("SIGHUP is logged and changes nothing")
def hangup():
    daemon = Daemon(nowhere())
    daemon.signal(signal.SIGHUP)
    daemon.wait_line("SIGHUP")
    check("disk" in daemon.iscsimux("list").stdout, "no session is listed")
    check_equal(daemon.stop(), 0, "exit status")


# --- Clients, when things are not there

@test("a missing target: the daemon stays, the CLI waits and says why")
def missing_target():
    portal = portal_of_nobody()
    daemon = Daemon(session("disk", portal, IQN, reconnect_interval="60s"))
    shown = daemon.wait_session("disk", lambda told: told["next_try_ms"] > 0,
                                "to wait for the next try")
    check(portal in shown["last_error"] and "refused" in shown["last_error"],
          f"last error {shown['last_error']!r}")
    for command in (["wait"], ["capacity"], ["ping"], ["luns"]):
        done = daemon.iscsimux(*command, "disk", "-t", SHORT, check_status=1)
        last = done.stderr.splitlines()[-1]
        check(portal in last and "refused" in last and SHORT in last,
              f"{command}: {done.stderr!r}")
    done = daemon.iscsimux("read", "disk", tmp("out"), "-t", SHORT,
                           check_status=1)
    done = daemon.iscsimux("wait", "other", "-t", SHORT, check_status=1)
    check("other" in done.stderr, f"{done.stderr!r}")
    check_equal(daemon.stop(), 0, "exit status")


def hold(target, daemon, what, tasks, start):
    """Starts something while the target holds reads or writes."""
    daemon.wait_up("disk")
    target.order(f"hold {what}")
    process = start()
    daemon.wait_session("disk", lambda told: told["tasks"] == tasks,
                        f"to have {tasks} tasks")
    return process


@test("the daemon is killed under a writer: status 4, and how far it came")
def killed_under_writer():
    target = Target()
    daemon = Daemon(session("disk", target.portals[0], target.iqn))
    source = tmp("in")
    with open(source, "wb") as file:
        file.write(os.urandom(1 << 20))
    writer = hold(target, daemon, "writes", 16, lambda:
                  daemon.start_iscsimux("write", "disk", source))
    daemon.crash()
    writer.expect_exit(4)
    check_equal(len(re.findall("^iscsimux: ", writer.log(), re.MULTILINE)),
                len(writer.log().splitlines()), "lines with the name")
    print(f"# {writer.log().splitlines()}")
    target.order("release")
    second = again(daemon, session("disk", target.portals[0], target.iqn))
    second.wait_ready()
    second.iscsimux("write", "disk", source, "--verify")
    check_equal(second.stop(), 0, "exit status")
    target.check_no_error()


@test("the daemon is killed under many requests: each ends once, as unknown")
def killed_under_requests():
    target = Target()
    daemon = Daemon(session("disk", target.portals[0], target.iqn))

    def start():
        worker = Worker(daemon, 0, 32 * 65536)
        worker.start()
        return worker
    worker = hold(target, daemon, "writes", 32, start)
    daemon.crash()
    worker.expect_exit(1)
    ends = re.findall(r"^WRITE .*: (\S+), status", worker.log(), re.MULTILINE)
    check_equal(ends, ["unknown"] * 32, "ends of the requests")


@test("the daemon is killed under a reader, which goes on with the next one")
def killed_under_reader():
    target = Target()
    daemon = Daemon(session("disk", target.portals[0], target.iqn))
    daemon.wait_up("disk")
    fifo, copy = tmp("fifo"), tmp("copy")
    os.mkfifo(fifo)
    reader = daemon.start_iscsimux("read", "disk", fifo, "--length", "1M")
    daemon.wait_call(lambda told: told["sessions"]["disk"]["outcomes"]
                     ["final-pdu"] >= 1, "the capacity to be read",
                     "stats.get")

    def start():
        with open(copy, "wb") as out:
            return Process(["cat", fifo], stdout=out)
    cat = hold(target, daemon, "reads", 16, start)
    daemon.crash()
    target.order("release")
    second = again(daemon, session("disk", target.portals[0], target.iqn))
    reader.expect_exit(0)
    cat.expect_exit(0)
    check_equal(os.path.getsize(copy), 1 << 20, "bytes read")
    check_equal(second.stop(), 0, "exit status")
    target.check_no_error()


@test("daemon.stop needs no signal, and its socket no restart of clients")
def stop_by_control():
    daemon = Daemon(nowhere())
    try:
        daemon.call("daemon.halt")
        check(False, "an unknown method was taken")
    except RpcError as error:
        check_equal(error.code, -32601, "code")
    daemon.iscsimuxctl("stop")
    daemon.expect_exit(0)


main()
