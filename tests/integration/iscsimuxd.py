# SPDX-License-Identifier: ISC
"""The daemon under test: its configuration, its sockets, its programs."""

import array
import json
import os
import pwd
import shlex
import socket

from harness import (PATIENCE, TIMEOUT, Process, check, check_equal, connects,
                     defer, program, run, tmp, wait_until)


class RpcError(Exception):
    """The control socket answered with an error object."""

    def __init__(self, error):
        super().__init__(f"{error.get('code')}: {error.get('message')}")
        self.code = error.get("code")
        self.message = error.get("message")
        self.data = error.get("data")


def config_text(entries, indent=""):
    """libconfuse text of a dict: nested dicts are sections, True is yes.

    A key of two words in a tuple, as ("session", "disk"), is a titled section;
    _ in a key stands for -.
    """
    lines = []
    for key, value in entries.items():
        if value is None:
            continue
        title = key if isinstance(key, str) else " ".join(key)
        if isinstance(key, str):
            title = key.replace("_", "-")
        if isinstance(value, dict):
            lines.append(f"{indent}{title} {{\n"
                         f"{config_text(value, indent + '    ')}"
                         f"{indent}}}\n")
        else:
            lines.append(f"{indent}{title} = {_config_value(value)}\n")
    return "".join(lines)


def _config_value(value):
    if isinstance(value, (list, tuple)):
        return "{" + ", ".join(_config_value(each) for each in value) + "}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    quoted = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"'


def session(name, portal, target, access=None, **keys):
    """The configuration of one session, as text.

    access defaults to the user who runs the test. Without a keepalive-interval
    there are no pings, so that a slow machine puts none among the PDUs that a
    test counts.
    """
    if access is None:
        access = {"users": [_user_name()], "allow": ["all"]}
    body = {"portal": portal, "target": target, "keepalive_interval": "0s",
            **keys, "access": access}
    return config_text({("session", name): body})


def _user_name():
    return pwd.getpwuid(os.getuid()).pw_name


class Control:
    """A connection to the control socket: JSON-RPC 2.0, one object a line."""

    def __init__(self, path, timeout=TIMEOUT):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout * PATIENCE)
        self.socket.connect(path)
        self.lines = self.socket.makefile("r", encoding="utf-8")
        self.next_id = 0
        defer(self.close)

    def send(self, text):
        """Sends text as it is."""
        self.socket.sendall(text.encode())

    def receive(self):
        """The next object, None at the end of the stream."""
        line = self.lines.readline()
        return json.loads(line) if line else None

    def call(self, method, **params):
        """Calls method; returns its result or raises RpcError."""
        return self.call_with_fds([], method, **params)

    def call_with_fds(self, fds, method, **params):
        """The same with descriptors that come with the request."""
        self.send_call(method, fds, **params)
        return self.result()

    def send_call(self, method, fds=(), **params):
        """Calls method and does not wait; result() does."""
        self.next_id += 1
        request = {"jsonrpc": "2.0", "id": self.next_id, "method": method}
        if params:
            request["params"] = params
        raw = json.dumps(request).encode() + b"\n"
        if fds:
            sent = self.socket.sendmsg([raw], [
                (socket.SOL_SOCKET, socket.SCM_RIGHTS,
                 array.array("i", fds))])
            raw = raw[sent:]
        self.socket.sendall(raw)

    def result(self):
        """The result of the last call, or raises RpcError."""
        answer = self.receive()
        check(answer is not None, "the control socket was closed")
        check_equal(answer.get("id"), self.next_id, f"id of {answer}")
        if "error" in answer:
            raise RpcError(answer["error"])
        return answer["result"]

    def close(self):
        """Closes the connection."""
        self.lines.close()
        self.socket.close()


class Daemon(Process):
    """iscsimuxd with sockets and configuration of its own.

    sessions is configuration text, as session() makes it; keys go into the
    daemon section. With wait=True both sockets accept when this returns.
    wrapper is a command line that runs what stands behind it.
    """

    def __init__(self, *sessions, wait=True, options=(), env=None,
                 status_wanted=0, config=None, wrapper=(), **keys):
        base = tmp("d")
        os.mkdir(base)
        self.data_socket = os.path.join(base, "data.sock")
        self.control_socket = os.path.join(base, "control.sock")
        self.config_path = os.path.join(base, "iscsimuxd.conf")
        if config is None:
            config = self.daemon_section(keys) + "".join(sessions)
        with open(self.config_path, "w", encoding="utf-8") as file:
            file.write(config)
        command = [*wrapper, *shlex.split(os.environ.get("VALGRIND", ""))]
        command += [program("ISCSIMUXD"), "-f", "-c", self.config_path]
        super().__init__([*command, *options], "iscsimuxd", env,
                         status_wanted)
        if wait:
            self.wait_ready()

    def daemon_section(self, keys):
        """The daemon section with these sockets; keys override."""
        section = {"data_socket": self.data_socket,
                   "control_socket": self.control_socket,
                   "drain_timeout": "0s"}
        if os.getuid() == 0:
            section["user"] = "root"
        section.setdefault(
            "initiator_name",
            f"iqn.2026-01.org.example:test-{os.getpid()}")
        return config_text({"daemon": {**section, **keys}})

    def wait_ready(self, timeout=TIMEOUT):
        """Waits until both sockets accept."""
        def ready():
            check(self.alive(), "iscsimuxd ended at its start with status "
                  f"{self.popen.returncode}")
            return (connects(self.data_socket) and
                    connects(self.control_socket))
        wait_until(ready, "both sockets of iscsimuxd", timeout)

    def client_env(self):
        """Environment that leads the command-line programs here."""
        return {"ISCSIMUX_SOCKET": self.data_socket,
                "ISCSIMUX_CONTROL": self.control_socket}

    def iscsimux(self, *args, **options):
        """Runs the user's program; see run()."""
        options["env"] = {**self.client_env(), **options.get("env", {})}
        return run([program("ISCSIMUX"), *args], **options)

    def start_iscsimux(self, *args, **options):
        """Starts the user's program; returns a Process."""
        return Process([program("ISCSIMUX"), *args],
                       env=self.client_env(), **options)

    def iscsimuxctl(self, *args, **options):
        """Runs the admin's program; see run()."""
        options["env"] = {**self.client_env(), **options.get("env", {})}
        return run([program("ISCSIMUXCTL"), *args], **options)

    def control(self):
        """A new connection to the control socket."""
        return Control(self.control_socket)

    def call(self, method, **params):
        """One call over a connection of its own."""
        control = Control(self.control_socket)
        try:
            return control.call(method, **params)
        finally:
            control.close()

    def wait_call(self, ready, what, method, timeout=TIMEOUT, **params):
        """Calls method until ready(result) is true; returns that result."""
        control = Control(self.control_socket)
        last = []

        def attempt():
            last[:] = [control.call(method, **params)]
            return ready(last[0])
        try:
            wait_until(attempt, what, timeout)
        finally:
            control.close()
        return last[0]

    def wait_session(self, name, ready, what, timeout=TIMEOUT):
        """Waits until ready(session.show of name); returns that."""
        return self.wait_call(ready, f"session {name} {what}", "session.show",
                              timeout, session=name)

    def wait_up(self, name, timeout=TIMEOUT):
        """Waits until a session is logged in; returns session.show of it."""
        return self.wait_session(name, lambda shown: shown["up"],
                                 "to be up", timeout)

    def wait_down(self, name, timeout=TIMEOUT):
        """Waits until a session is not; returns session.show of it."""
        return self.wait_session(name, lambda shown: not shown["up"],
                                 "to be down", timeout)

    def crash(self):
        """Ends it by SIGKILL, as a crash would."""
        return self.kill()
