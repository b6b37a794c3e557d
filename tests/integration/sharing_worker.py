# SPDX-License-Identifier: ISC
"""share_worker as a process: writes its own part of a LUN and reads it back."""

import json
import os

from harness import Process, check_equal, defer

DEPTH = 32
PATIENT = 300
# Seconds for eight clients to be ready with all their data.


class Worker(Process):
    """A client process that waits for start()."""

    def __init__(self, daemon, number, length, lun=0, block=512,
                 sizes=(65536,), name="disk"):
        self.seed = number + 1
        self.start_at = number * length
        self.length = length
        gate, self.gate = os.pipe()
        helper = os.path.join(os.environ["TEST_HELPERS"], "integration",
                              "share_worker")
        super().__init__([helper, name, lun, self.start_at, length, self.seed,
                          block, DEPTH, *sizes], f"worker-{number}",
                         env=daemon.client_env(), stdin=gate)
        os.close(gate)
        defer(self.start)

    def start(self):
        """Lets it begin."""
        if self.gate is not None:
            os.close(self.gate)
            self.gate = None

    def result(self):
        """Waits for its end; what it printed."""
        self.expect_exit(0, PATIENT)
        lines = self.log().splitlines()
        check_equal(lines[0], "ready", "first line of a worker")
        told = json.loads(lines[-1])
        check_equal(told["read"], told["written"],
                    f"checksum read by client {self.seed}")
        return told
