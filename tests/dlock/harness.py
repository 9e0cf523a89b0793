# SPDX-License-Identifier: BSL-1.0
"""Starts dlock as its users do, and says what was expected."""

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
import traceback

LONG = 60  # seconds that nothing here takes, also on a busy machine


def url_of_a_new_store(url):
    """A name space of its own on the server."""
    name = "dlock_" + secrets.token_hex(4)
    return url + ("&" if "?" in url else "?") + "name_space=" + name


class Dlock:
    """The program on one store."""

    def __init__(self, program, url):
        self.program = program
        self.url = url

    def environment(self, **more):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("DLOCK_")}
        return {**clean, "DLOCK_STORE": self.url, **more}

    def start(self, *words, **options):
        """A dlock that runs. Its pipes are text."""
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("env", self.environment())
        command = options.pop("before", []) + [self.program, *words]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)

    def run(self, *words, **options):
        """The code, standard output and standard error of a dlock that has ended."""
        process = self.start(*words, **options)
        out, err = process.communicate(timeout=LONG)
        return process.returncode, out, err

    def holder(self, *words, body="echo begun; exec sleep 600", **options):
        """A dlock whose command has begun."""
        process = self.start(*words, "-c", body, **options)
        line = process.stdout.readline()
        if line != "begun\n":
            raise AssertionError(f"the command did not begin: {line!r} {process.stderr.read()!r}")
        return process


def expect(what, found, expected):
    if found != expected:
        raise AssertionError(f"{what}: found {found!r}, expected {expected!r}")


def expect_in(what, part, whole):
    if part not in whole:
        raise AssertionError(f"{what}: {part!r} is not in {whole!r}")


def until(what, condition, seconds=LONG):
    """Waits until `condition()` holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.02)


def alive(pid):
    """Whether a process is there and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def stop(process, number=signal.SIGTERM):
    """Ends a dlock that may be stopped, and returns its code."""
    process.send_signal(number)
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=LONG)
    return process.returncode


def run_all(cases, at_a_time):
    """Runs the cases on a few threads; ends the program."""
    failures = []
    waiting = list(cases)
    lock = threading.Lock()

    def work():
        while True:
            with lock:
                if not waiting:
                    return
                case = waiting.pop(0)
            begun = time.monotonic()
            try:
                case()
                result = "ok"
            except Exception:
                result = "FAILED\n" + traceback.format_exc()
                failures.append(case.__name__)
            with lock:
                print(f"{case.__name__} ({time.monotonic() - begun:.1f} s): {result}", flush=True)

    threads = [threading.Thread(target=work) for _ in range(at_a_time)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        print("failed:", ", ".join(failures))
    sys.exit(1 if failures else 0)
