#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Runs test programs that print TAP: one line for each, and the sum.

Every program gets a process group and a TMPDIR of its own and a time-out.
When it ends, whatever it has started and left alive is a failure and is
killed; so is, if this runner itself is ended, everything below it.

Programs ending in .py run under this Python, .sh under sh. A program passes
if it prints a plan, every point of it is ok or skipped, and it exits with
status 0. One without any TAP is a single test, its exit status the result
(77: skipped).
"""

import argparse
import concurrent.futures
import ctypes
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

PR_SET_CHILD_SUBREAPER = 36
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)
# How many lines of a failed test's log are shown.
TAIL = 40


def die_with_parent():
    """In a new child: SIGTERM when the parent ends."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


# --- One test, in a supervisor process of its own, which adopts every orphan
# below it and so knows whom the test left behind.

def children_of(pid):
    """The children of all threads of a process."""
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children",
                      encoding="ascii") as file:
                found += [int(child) for child in file.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


def is_zombie(pid):
    """Whether a process has ended and only waits to be reaped."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii",
                  errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def command_of(pid):
    """The command line of a process, for a message."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return "?"
    return b" ".join(words).decode(errors="replace").strip()[:200]


def descendants():
    """Every living process below this one."""
    found = []
    todo = children_of(os.getpid())
    while todo:
        pid = todo.pop()
        todo += children_of(pid)
        if not is_zombie(pid):
            found.append(pid)
    return found


def kill_descendants():
    """Kills until none is left; a fork may run ahead of one pass."""
    while True:
        alive = descendants()
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.005)


def supervise(timeout, command):
    """Runs command; its exit status, 124 on time-out, 125 if it left some."""
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1)

    def ended(number, _frame):
        kill_descendants()
        os._exit(128 + number)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, ended)
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                 start_new_session=True)
    except OSError as error:
        print(f"# cannot run: {error}", flush=True)
        return 127
    try:
        status = child.wait(timeout)
    except subprocess.TimeoutExpired:
        print(f"\n# time-out after {timeout:.0f} s", flush=True)
        kill_descendants()
        return 124
    if status < 0:
        print(f"\n# ended by signal {-status}", flush=True)
        status = 128 - status
    # A process that was killed together with the test may need a moment.
    end = time.monotonic() + 2
    while descendants() and time.monotonic() < end:
        time.sleep(0.01)
    left = [f"{pid} ({command_of(pid)})" for pid in descendants()]
    kill_descendants()
    if left:
        print(f"\n# left alive: {', '.join(left)}", flush=True)
        return status or 125
    return status


# --- Many tests

class Result:
    """What came out of one test program."""

    def __init__(self, passed=0, failed=0, skipped=0, seconds=0.0):
        self.passed = passed
        self.failed = failed
        self.skipped = skipped
        self.seconds = seconds

    def add(self, other):
        """Adds another result to this one."""
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.seconds += other.seconds

    def __str__(self):
        return (f"{self.passed} passed, {self.failed} failed, "
                f"{self.skipped} skipped")


POINT = re.compile(r"^(not )?ok\b[^#]*(#\s*(SKIP|TODO)\b)?", re.IGNORECASE)
PLAN = re.compile(r"^1\.\.(\d+)\s*(#\s*SKIP\b)?", re.IGNORECASE)


def judge(output, status):
    """The result of a test program, from its output and exit status."""
    result = Result()
    planned = None
    for line in output.splitlines():
        plan = PLAN.match(line)
        point = POINT.match(line)
        if plan:
            planned = int(plan.group(1))
            result.skipped += 1 if plan.group(2) else 0
        elif line.startswith("Bail out!"):
            result.failed += 1
        elif point and (point.group(3) or "").upper() == "SKIP":
            result.skipped += 1
        elif point and point.group(1) and not point.group(3):
            result.failed += 1
        elif point:
            result.passed += 1
    total = result.passed + result.failed + result.skipped
    if planned is None and total == 0 and status in (0, 77):
        return Result(passed=int(status == 0), skipped=int(status == 77))
    missing = (planned or 0) - total
    if planned is None or missing != 0 and planned != 0:
        result.failed += max(missing, 1)
    if status != 0 and result.failed == 0:
        result.failed += 1
    return result


def reasons(output):
    """The points of TAP output that failed, each with its first comment."""
    lines = output.splitlines()
    for line, following in zip(lines, lines[1:] + [""]):
        if line.startswith("not ok"):
            yield line + (f": {following[1:].strip()}"
                          if following.startswith("#") else "")


class Runner:
    """Runs tests, prints a line for each and keeps their logs."""

    def __init__(self, options):
        self.options = options
        self.total = Result()
        self.failures = []
        self.lock = threading.Lock()
        self.running = set()
        self.stopping = False
        os.makedirs(options.logs, exist_ok=True)

    def name_of(self, test):
        """unit/check_pdu of tests/unit/check_pdu."""
        return re.sub(r"^(.*/)?tests/", "", test)

    def command(self, test):
        """How to run a test."""
        program = test.split()
        if not os.path.exists(program[0]):
            program[0] = os.path.join(self.options.srcdir, program[0])
        program[0] = os.path.abspath(program[0])
        if program[0].endswith(".py"):
            program.insert(0, sys.executable)
        elif program[0].endswith(".sh"):
            program.insert(0, "sh")
        elif self.options.valgrind:
            program = ["./libtool", "--mode=execute",
                       *shlex.split(os.environ["VALGRIND"]), *program]
        return [sys.executable, "-B", os.path.abspath(__file__),
                "--supervise", f"--timeout={self.options.timeout}", "--",
                *program]

    def log_path(self, test):
        """The log of a test."""
        name = self.name_of(test).replace("/", "-").replace(" ", "-")
        label = self.options.label and self.options.label + "-"
        return os.path.join(self.options.logs, f"{label}{name}.log")

    def run(self, test):
        """Runs one test program."""
        if self.stopping:
            return
        scratch = tempfile.mkdtemp(prefix="imux.")
        environment = {**os.environ, "TMPDIR": scratch, "TEST_RUNNER": "1",
                       "PYTHONDONTWRITEBYTECODE": "1"}
        path = self.log_path(test)
        start = time.monotonic()
        with open(path, "wb") as log:
            child = subprocess.Popen(
                self.command(test), stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, env=environment,
                preexec_fn=die_with_parent)
            with self.lock:
                self.running.add(child)
            status = child.wait()
            with self.lock:
                self.running.discard(child)
        with open(path, encoding="utf-8", errors="replace") as log:
            output = log.read()
        result = judge(output, status)
        result.seconds = time.monotonic() - start
        if result.failed:
            kept = os.path.splitext(path)[0] + ".d"
            shutil.rmtree(kept, ignore_errors=True)
            self.keep(scratch, kept)
        shutil.rmtree(scratch, ignore_errors=True)
        with self.lock:
            self.report(test, result, path, output)

    def keep(self, scratch, kept):
        """Keeps the small text files that a failed test leaves."""
        for folder, _, files in os.walk(scratch):
            for name in files:
                path = os.path.join(folder, name)
                if os.path.isfile(path) and os.path.getsize(path) < 1 << 20:
                    os.makedirs(kept, exist_ok=True)
                    flat = os.path.relpath(path, scratch).replace("/", "-")
                    shutil.copyfile(path, os.path.join(kept, flat))

    def report(self, test, result, path, output):
        """The line of a test, and the end of its log if it failed."""
        if self.stopping:
            return
        self.total.add(result)
        mark = "FAIL" if result.failed else "ok"
        label = f"{self.options.label:9}" if self.options.label else ""
        counts = f"{result.passed} passed"
        if result.failed:
            counts += f", {result.failed} failed"
        if result.skipped:
            counts += f", {result.skipped} skipped"
        print(f"{label}{self.name_of(test):36} {mark:4} {counts} "
              f"({result.seconds:.1f} s)", flush=True)
        if result.failed:
            name = f"{label}{self.name_of(test)}"
            self.failures += [f"{name}: {reason}" for reason in
                              list(reasons(output)) or [counts]]
            print(f"    the end of {path}:")
            for line in output.rstrip().splitlines()[-TAIL:]:
                print(f"    | {line}")
            sys.stdout.flush()
        elif result.skipped:
            for line in output.splitlines():
                if re.search(r"# *SKIP", line):
                    print(f"    {line}", flush=True)

    def stop(self, number, _frame):
        """Ends everything below."""
        self.stopping = True
        for child in list(self.running):
            child.terminate()
        for child in list(self.running):
            child.wait()
        os._exit(128 + number)

    def run_all(self, tests):
        """Runs all, options.jobs at a time."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self.stop)
        # die_with_parent() goes by the thread that made the child; a thread
        # of the pool lives until all are done.
        with concurrent.futures.ThreadPoolExecutor(self.options.jobs) as pool:
            list(pool.map(self.run, tests))


def main():
    """Reads the command line and runs the tests."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("tests", nargs="*", help="programs to run; "
                        "a program and its arguments may be one word")
    parser.add_argument("--srcdir", default=".", help="where scripts are")
    parser.add_argument("--logs", default="test-logs",
                        help="where logs go (default: %(default)s)")
    parser.add_argument("--label", default="",
                        help="printed before each name")
    parser.add_argument("--jobs", type=int, default=1,
                        help="tests at the same time (default: 1)")
    parser.add_argument("--timeout", type=float, default=600,
                        help="seconds for each test (default: 600)")
    parser.add_argument("--valgrind", action="store_true", help="run compiled "
                        "programs under the command $VALGRIND")
    parser.add_argument("--sum", help="file to which the three numbers "
                        "passed, failed, skipped are added as a line, and "
                        "one of zeros and words for whatever failed")
    parser.add_argument("--supervise", action="store_true",
                        help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.supervise:
        sys.exit(supervise(options.timeout, options.tests))
    runner = Runner(options)
    runner.run_all(options.tests)
    total = runner.total
    if options.sum:
        with open(options.sum, "a", encoding="utf-8") as file:
            print(total.passed, total.failed, total.skipped, file=file)
            for failure in runner.failures:
                print(0, 0, 0, failure, file=file)
    else:
        print(total)
    sys.exit(1 if total.failed else 0)


if __name__ == "__main__":
    main()
