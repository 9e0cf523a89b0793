# SPDX-License-Identifier: BSL-1.0

"""A Redis server of the test's own, which can be killed without losing a write that it has answered."""

import shutil
import subprocess
import tempfile

from service import dies_with_parent, free_port, wait_until


class Store:
    name = "redis"

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="payments-redis-")
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        def answers():
            done = subprocess.run(
                ["redis-cli", "-p", str(self.port), "ping"], capture_output=True, text=True)
            return done.stdout.strip() == "PONG"
        with open(self.directory + "/log", "ab") as log:
            self.process = subprocess.Popen(
                ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.directory,
                 "--save", "", "--appendonly", "yes", "--appendfsync", "always"],
                stdout=log, stderr=log, preexec_fn=dies_with_parent)
        wait_until(answers, 60, "the server has not started")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def books(self):
        return None  # it has the accounts only

    def close(self):
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
