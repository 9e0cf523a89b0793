#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0

"""run_sh_on_postgres.py <payments> <run.sh>

What `examples/run payments` starts, it ends: whichever signal comes, to the script alone or to all of its
group as a terminal sends it, once or twice, and while its server begins.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True

from service import wait_until  # noqa: E402


def expect(good, what):
    if not good:
        raise SystemExit(f"payments: {what}")


def processes():
    return subprocess.run(["ps", "-eo", "stat,args"], stdout=subprocess.PIPE, text=True, check=True).stdout


def check(program, script, place, numbers, to, until):
    begin = f"set -euo pipefail; step() {{ \"$@\"; }}; . '{script}'; run_program '{program}' --port 0"
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        def said(what):
            out.seek(0)
            err.seek(0)
            return re.search(what, out.read() + err.read())
        process = subprocess.Popen(
            ["bash", "-c", begin], stdout=out, stderr=err, start_new_session=True,
            env={**os.environ, "TMPDIR": place})
        wait_until(lambda: said(until), what=f"no {until}")
        for number in numbers:
            to(process.pid, number)
            time.sleep(0.05)
        code = process.wait(60)
        case = f"{numbers} to {to.__name__} at {until}"
        if numbers[0] != signal.SIGHUP and until == "http:":
            expect(code == 0, f"{case}: exit code {code}: {said('(?s).*')[0]}")
        left = [line for line in processes().splitlines() if place in line and not line.startswith("Z")]
        expect(not left, f"{case}: left running: {left}")
        expect(not os.listdir(place), f"{case}: left behind: {os.listdir(place)}")


def main():
    if not os.path.isdir("/usr/lib/postgresql"):
        print("there is no PostgreSQL server")
        raise SystemExit(77)
    program, script = (os.path.abspath(path) for path in sys.argv[1:])
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        for to in (os.kill, os.killpg):
            for numbers in ([signal.SIGINT], [signal.SIGTERM], [signal.SIGHUP], [signal.SIGINT] * 2):
                check(program, script, place, numbers, to, "http:")
            check(program, script, place, [signal.SIGINT], to, "starting")
    print("payments: nothing is left behind")


if __name__ == "__main__":
    main()
