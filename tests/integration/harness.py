# SPDX-License-Identifier: ISC
"""What integration tests share: TAP, processes, waiting for events.

The daemon is in iscsimuxd.py, the targets are in targets.py. A test file reads:

    from harness import main, test
    from iscsimuxd import Daemon, session
    from targets import RamTarget

    @test("a client reads what it wrote")
    def write_read():
        target = RamTarget()
        daemon = Daemon(session("disk", target.portals[0], target.iqn))
        ...

    main()

Everything started inside a test is stopped at its end, and everything started
outside of one at the end of the file; a daemon that does not end with status 0
then fails the test. Nothing here sleeps and hopes: wait_until() and what is
built on it wait for an event and fail with what they waited for.

The environment says what is tested and how: ISCSIMUXD, ISCSIMUX, ISCSIMUXCTL,
RAMTARGET, TEST_HELPERS, VALGRIND, TEST_SCALE, TEST_TIMEOUT_FACTOR, TMPDIR.
"""

import atexit
import ctypes
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

SCALE = float(os.environ.get("TEST_SCALE") or 1)
PATIENCE = float(os.environ.get("TEST_TIMEOUT_FACTOR") or 1)
TIMEOUT = 30
# Seconds that an event may take; multiplied by TEST_TIMEOUT_FACTOR.

TROUBLE_STATUS = 99
# Exit status that sanitizers and valgrind are told to use.


class Failure(Exception):
    """A test failed; the message says how."""


class Skip(Exception):
    """A test cannot run here; the message says why."""


# --- Small things

def check(condition, message):
    """Fails the test with message unless condition holds."""
    if not condition:
        raise Failure(message)


def check_since(start, seconds):
    """Fails the test if less time has passed. The daemon reads a clock that
    is a few milliseconds late."""
    took = time.monotonic() - start
    check(took >= seconds - 0.01, f"too early, after {took:.4f} s")


def check_equal(got, wanted, what):
    """Fails the test unless got == wanted."""
    if got != wanted:
        raise Failure(f"{what}: got {got!r}, wanted {wanted!r}")


def scaled(number, least=1, multiple=1):
    """number cut by TEST_SCALE, at least `least`, a multiple of `multiple`."""
    number = max(int(number * SCALE), least)
    return -(-number // multiple) * multiple


def free_port(host="127.0.0.1"):
    """A TCP port that is free now: for programs that cannot be told port 0."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def program(variable):
    """The path of the built program that environment variable names."""
    path = os.environ.get(variable)
    if not path:
        raise Failure(f"{variable} is not set: run me by make check-integration")
    if not os.access(path, os.X_OK):
        raise Failure(f"{variable}={path} is not an executable file")
    return path


def installed(name):
    """The path of a program of the machine; skips the test without it."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    found = shutil.which(name, path=path)
    if found is None:
        raise Skip(f"{name} is not installed")
    return found


def wait_until(ready, what, timeout=TIMEOUT):
    """Calls ready() until it returns something true, and returns that."""
    limit = timeout * PATIENCE
    end = time.monotonic() + limit
    while True:
        result = ready()
        if result:
            return result
        if time.monotonic() > end:
            raise Failure(f"waited {limit:.0f} s in vain for {what}")
        time.sleep(0.01)


def connects(address):
    """Whether something accepts at a UNIX path or a (host, port)."""
    if isinstance(address, str):
        family = socket.AF_UNIX
    else:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family) as probe:
        probe.settimeout(5)
        try:
            probe.connect(address)
        except OSError:
            return False
        return True


def split_portal(portal):
    """("::1", 3260) from "[::1]:3260"."""
    host, _, port = portal.rpartition(":")
    return host.strip("[]"), int(port)


# --- What has to be undone: one list for the file, one for the running test.

class Scope:
    """Things to undo, last first; each undo may raise to fail the test."""

    def __init__(self):
        self.undo = []

    def close(self):
        """Undoes everything; returns the failures as text."""
        failures = []
        while self.undo:
            try:
                self.undo.pop()()
            except Exception as error:  # each must have its turn
                failures.append(str(error))
        return failures


_scopes = [Scope()]
_processes = []


def defer(undo):
    """Calls undo() at the end of this test (or of the file, outside of one)."""
    _scopes[-1].undo.append(undo)


def shared(make):
    """Decorator: the first call of make() serves all tests of the file."""
    made = []

    def get():
        if not made:
            running = _scopes[1:]
            del _scopes[1:]
            try:
                made.append(make())
            finally:
                _scopes.extend(running)
        return made[0]
    return get


_tmp = None


def tmpdir():
    """The directory of this file's own: TMPDIR of the runner, or a new one."""
    global _tmp
    if _tmp is None:
        if os.environ.get("TEST_RUNNER"):
            _tmp = os.environ["TMPDIR"]
        else:
            _tmp = tempfile.mkdtemp(prefix="imux.")
            atexit.register(shutil.rmtree, _tmp)
    return _tmp


def tmp(name):
    """The path of a file called name, new for each call, in tmpdir()."""
    tmp.count += 1
    return os.path.join(tmpdir(), f"{tmp.count}.{name}")


tmp.count = 0


# --- Processes

_libc = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1


def _die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """A child in a process group of its own that dies with this program.

    Its output goes to the file log_path. status_wanted, where not None, is
    the exit status it must end with when it is stopped at the end of its test.
    """

    stop_signal = signal.SIGTERM

    def __init__(self, args, name=None, env=None, status_wanted=None,
                 stdin=subprocess.DEVNULL, stdout=None, cwd=None):
        self.args = [str(arg) for arg in args]
        self.name = name or os.path.basename(self.args[0])
        self.status_wanted = status_wanted
        self.log_path = tmp(self.name + ".log")
        self.ended = None
        with open(self.log_path, "ab") as log:
            self.popen = subprocess.Popen(
                self.args, stdin=stdin, stdout=stdout or log, stderr=log,
                cwd=cwd, env={**os.environ, **(env or {})},
                start_new_session=True, preexec_fn=_die_with_parent)
        self.pid = self.popen.pid
        _processes.append(self)
        defer(self._end_of_scope)

    def log(self):
        """Everything it has printed so far."""
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def alive(self):
        """Whether it still runs."""
        return self.popen.poll() is None

    def wait_line(self, pattern, timeout=TIMEOUT, count=1):
        """Waits until count lines match pattern; returns their matches."""
        def found():
            alive = self.alive()
            matches = list(re.finditer(pattern, self.log(), re.MULTILINE))
            if len(matches) >= count:
                return matches
            check(alive, f"{self.name} ended with status "
                  f"{self.popen.returncode} before it printed {pattern!r}")
            return None
        return wait_until(found, f"{pattern!r} of {self.name}", timeout)

    def wait(self, timeout=TIMEOUT):
        """Waits for its end; returns the exit status (-N: signal N)."""
        try:
            self.ended = self.popen.wait(timeout * PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} (pid {self.pid}) did not end within "
                          f"{timeout * PATIENCE:.0f} s") from None
        return self.ended

    def signal(self, number):
        """Sends it a signal."""
        self.popen.send_signal(number)

    def stop(self, timeout=TIMEOUT):
        """Asks it to end; returns the exit status."""
        if self.alive():
            self.signal(self.stop_signal)
        return self.wait(timeout)

    def kill(self):
        """SIGKILL to its whole group; what it leaves is never checked."""
        self.status_wanted = None
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        return self.wait()

    def expect_exit(self, status, timeout=TIMEOUT):
        """Waits for its end and checks the exit status."""
        got = self.wait(timeout)
        self.status_wanted = None
        check_equal(got, status, f"exit status of {self.name}")

    def _end_of_scope(self):
        wanted = self.status_wanted
        try:
            if self.ended is None:
                self.stop()
            if wanted is not None and self.ended != wanted:
                hint = ""
                if self.ended == TROUBLE_STATUS:
                    hint = ": a sanitizer or valgrind reported"
                raise Failure(f"{self.name} ended with status {self.ended} "
                              f"instead of {wanted}{hint}")
        finally:
            self.kill()


def run(args, check_status=0, timeout=TIMEOUT, env=None, **options):
    """Runs a program to its end; returns a subprocess.CompletedProcess.

    Its output is captured as text (text=False: bytes). check_status None
    accepts any exit status.
    """
    options = {"capture_output": True, "text": True, **options}
    if "input" not in options:
        options.setdefault("stdin", subprocess.DEVNULL)
    args = [str(arg) for arg in args]
    try:
        done = subprocess.run(args, timeout=timeout * PATIENCE,
                              env={**os.environ, **(env or {})},
                              preexec_fn=_die_with_parent, **options)
    except subprocess.TimeoutExpired as late:
        raise Failure(f"{shlex.join(args)} did not end within "
                      f"{late.timeout:.0f} s") from None
    if check_status is not None and done.returncode != check_status:
        raise Failure(f"{shlex.join(args)} ended with status "
                      f"{done.returncode} instead of {check_status}\n"
                      f"{done.stdout!s}{done.stderr!s}")
    return done


# --- TAP

_tests = []


def test(description):
    """Registers the function below as a test; they run in file order."""
    def register(function):
        _tests.append((function.__name__, description, function))
        return function
    return register


def _diagnose(text):
    for line in text.rstrip("\n").split("\n"):
        print(f"# {line}")


def _show_logs(first):
    for process in _processes[first:]:
        lines = process.log().splitlines()
        print(f"# --- {process.name} (pid {process.pid}), last lines:")
        for line in lines[-30:]:
            print(f"#   {line}")


def _run_one(number, description, function):
    """Runs one test and prints its line; whether it passed."""
    first = len(_processes)
    failures = []
    skipped = None
    _scopes.append(Scope())
    try:
        function()
    except Skip as reason:
        skipped = str(reason)
    except Failure as failure:
        frame = traceback.extract_tb(failure.__traceback__)
        where = [f for f in frame if f.filename != __file__] or frame
        failures.append(f"{os.path.basename(where[-1].filename)}:"
                        f"{where[-1].lineno}: {failure}")
    except Exception:  # anything else is a failure, too
        failures.append(traceback.format_exc())
    failures += _scopes.pop().close()
    if failures:
        print(f"not ok {number} - {description}")
        _diagnose("\n".join(failures))
        _show_logs(first)
    elif skipped is not None:
        print(f"ok {number} - {description} # SKIP {skipped}")
    else:
        print(f"ok {number} - {description}")
    sys.stdout.flush()
    return not failures


def _terminated(number, _frame):
    raise SystemExit(128 + number)


def main():
    """Runs the registered tests, or those whose names are arguments."""
    signal.signal(signal.SIGTERM, _terminated)
    names = sys.argv[1:]
    unknown = set(names) - {name for name, _, _ in _tests}
    if unknown:
        sys.exit(f"no such test: {' '.join(sorted(unknown))}; there are "
                 f"{' '.join(name for name, _, _ in _tests)}")
    chosen = [t for t in _tests if not names or t[0] in names]
    count = 0
    passed = True
    try:
        for _, description, function in chosen:
            count += 1
            passed = _run_one(count, description, function) and passed
    finally:
        while len(_scopes) > 1:
            _scopes.pop().close()
        any_shared = bool(_scopes[0].undo)
        failures = _scopes[0].close()
    if any_shared:
        count += 1
        ended = "what all tests share ended well"
        print(f"{'not ok' if failures else 'ok'} {count} - {ended}")
        if failures:
            _diagnose("\n".join(failures))
            passed = False
    print(f"1..{count}")
    sys.exit(0 if passed else 1)
