# SPDX-License-Identifier: BSL-1.0

"""The payment service as a process, and what asks it. Needs nothing but Python."""

import ctypes
import http.client
import json
import os
import signal
import socket
import subprocess
import tempfile
import time


def dies_with_parent():
    """For preexec_fn: a test that is killed leaves no server behind."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def stops_with_parent():
    """The same for a process that has others to end first."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def stops_with_careless_parent():
    """The same, of a parent that ignores the ends of its children, and has closed standard input."""
    stops_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    os.close(0)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(good, seconds=60, what="nothing happened"):
    until = time.monotonic() + seconds
    while not good():
        if time.monotonic() > until:
            raise SystemExit(f"payments: {what} within {seconds} s")
        time.sleep(0.02)


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.body!r}"


class Service:
    """The program with its supervisor, on a port that the system chooses."""

    def __init__(self, program, store, *options, log=None, begin=stops_with_parent):
        self.log = log or tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [program, "--port", "0", "--store", store, *options],
            stdout=subprocess.PIPE, stderr=self.log, preexec_fn=begin)
        line = self.process.stdout.readline().decode()
        if not line.startswith("payments: http://"):
            raise SystemExit(f"payments: it did not start: {line!r} {self.said()!r}")
        self.port = int(line.rsplit(":", 1)[1].strip("/\n"))

    def said(self):
        if not self.log.readable():
            return "(nobody can read it)"
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def worker(self):
        """The process that serves, or None while there is none."""
        try:
            with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as file:
                children = file.read().split()
        except OSError:
            return None
        return int(children[0]) if children else None

    def kill_worker(self):
        pid = self.worker()
        if pid is not None:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                return False
        return pid is not None

    def connect(self, timeout=20):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def ask(self, method, path, body=None, headers=None, timeout=20):
        connection = self.connect(timeout)
        try:
            connection.putrequest(method, path)
            for name, value in (headers or {}).items():
                for one in value if isinstance(value, list) else [value]:
                    connection.putheader(name, one)
            data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            if data is not None:
                connection.putheader("Content-Length", str(len(data)))
            connection.endheaders(data)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def post(self, path, body, key, **headers):
        return self.ask("POST", path, body, {"Idempotency-Key": key, **headers})

    def await_health(self, seconds=60):
        def healthy():
            try:
                return self.ask("GET", "/health").status == 200
            except OSError:
                return False
            except http.client.HTTPException:
                return False
        wait_until(healthy, seconds, "the service is not healthy")

    def stop(self):
        """Its exit code after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        if error[0] is not None:
            print("the service said:\n" + self.said()[-4000:])
