# SPDX-License-Identifier: BSL-1.0

"""A PostgreSQL server of the test's own, which can be killed and started again."""

import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile

from service import dies_with_parent, free_port, wait_until


def program(name):
    return max(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), default=name)


class Store:
    name = "postgresql"

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="payments-postgres-")
        self.port = free_port()
        # The server refuses to run as root.
        self.user = "postgres" if os.geteuid() == 0 else None
        if self.user:
            os.chown(self.directory, pwd.getpwnam(self.user).pw_uid, -1)
        self.url = f"postgresql://bank@127.0.0.1:{self.port}/postgres"
        subprocess.run(
            [program("initdb"), "-D", self.directory + "/data", "-A", "trust", "-U", "bank", "--no-sync",
             "-E", "UTF8", "--locale=C"],
            check=True, stdout=subprocess.DEVNULL, user=self.user, cwd="/")
        self.start()

    def start(self):
        def answers():
            # What a killed server has left may stand in the way for a moment.
            if self.process.poll() is not None:
                self._launch()
            return self.sql("SELECT 1", check=False) == "1"
        self._launch()
        wait_until(answers, 60, "the server has not started")

    def _launch(self):
        with open(self.directory + "/log", "ab") as log:
            self.process = subprocess.Popen(
                [program("postgres"), "-D", self.directory + "/data", "-k", self.directory, "-p",
                 str(self.port), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off",
                 "-c", "shared_buffers=32MB"],
                stdout=log, stderr=log, user=self.user, cwd="/", preexec_fn=dies_with_parent)

    def kill(self):
        """SIGKILL, the server's helpers and sessions as well."""
        pid = self.process.pid
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            children = [int(child) for child in file.read().split()]
        for one in [pid, *children]:
            try:
                os.kill(one, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()

    def sql(self, text, check=True):
        """The first column of the last statement's first row."""
        done = subprocess.run(
            ["psql", "-X", "-q", "-A", "-t", self.url, "-c", text],
            check=check, capture_output=True, text=True)
        return done.stdout.strip()

    def books(self):
        """How many payments and transfers the store's own table has, and how many cents they moved."""
        rows = self.sql("SELECT count(*) || ' ' || coalesce(sum(amount), 0) FROM bank.payments")
        count, cents = rows.split()
        return int(count), int(cents)

    def close(self):
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
