#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""A job that cron starts on several hosts at once: check_cron.py PROGRAM URL [OPTION...]

Each slot begins on every host a little earlier or later, since their clocks differ, and one of the starts is
to run the job: dlock -n --at-least. The hosts are network name spaces where --hosts says how many (as root,
with ip(8)); URL then has @HOST@ in the place of the server's address, which a bridge leads to.

Checked: each slot has a run, and no two runs are nearer to each other than --at-least says. The latter holds
on a machine that is as slow as it likes; starts that come later than that are starts of their own."""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

from harness import LONG, Dlock, url_of_a_new_store


class Hosts:
    """Network name spaces on a bridge."""

    def __init__(self, count):
        self.count = count
        self.name = "dl" + format(os.getpid() % 10000, "04d")
        self.server = "10.213.77.1"

    def ip(self, *words):
        subprocess.run(["ip", *words], check=True)

    def __enter__(self):
        if self.count == 0:
            return self
        self.ip("link", "add", self.name, "type", "bridge")
        self.ip("addr", "add", self.server + "/24", "dev", self.name)
        self.ip("link", "set", self.name, "up")
        for i in range(self.count):
            host = f"{self.name}h{i}"
            self.ip("netns", "add", host)
            self.ip("link", "add", f"{host}a", "type", "veth", "peer", "name", f"{host}b", "netns", host)
            self.ip("link", "set", f"{host}a", "master", self.name, "up")
            self.ip("-n", host, "addr", "add", f"10.213.77.{i + 2}/24", "dev", f"{host}b")
            self.ip("-n", host, "link", "set", f"{host}b", "up")
        return self

    def __exit__(self, *_):
        if self.count == 0:
            return
        for i in range(self.count):
            subprocess.run(["ip", "netns", "del", f"{self.name}h{i}"], check=False)
        subprocess.run(["ip", "link", "del", self.name], check=False)

    def before(self, i):
        """What a command on host `i` begins with."""
        return ["ip", "netns", "exec", f"{self.name}h{i % self.count}"] if self.count else []


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("url")
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--starts", type=int, default=12, help="in each slot")
    parser.add_argument("--period", type=float, default=6, help="from one slot to the next, in seconds")
    parser.add_argument("--spread", type=float, default=0.5, help="by how much clocks differ, in seconds")
    parser.add_argument("--at-least", type=float, default=4)
    parser.add_argument("--hosts", type=int, default=0, help="network name spaces; 0: none")
    given = parser.parse_args()
    if given.hosts and shutil.which("ip") is None:
        sys.exit("ip(8) is needed for --hosts")
    with tempfile.TemporaryDirectory() as folder, Hosts(given.hosts) as hosts:
        check(given, folder, hosts)


def check(given, folder, hosts):
    url = given.url.replace("@HOST@", hosts.server)
    d = Dlock(os.path.abspath(given.program), url_of_a_new_store(url))
    code, _, err = d.run("setup")
    if code != 0:
        sys.exit(err)
    ran = os.path.join(folder, "ran")
    job = f"echo $SLOT $(date +%s.%N) >> {ran}"
    codes = []
    random.seed(7)

    def start(slot, i, at):
        time.sleep(max(0, at - time.time()))
        code, _, err = d.run(
            "-n", "-E", "99", "--at-least", str(given.at_least), "cron", "-c", job,
            env=d.environment(SLOT=str(slot)), before=hosts.before(i))
        codes.append(code)
        if code not in (0, 99):
            print(err, flush=True)

    first = time.time() + 1
    threads = []
    for slot in range(given.slots):
        for i in range(given.starts):
            at = first + slot * given.period + random.uniform(0, given.spread)
            threads.append(threading.Thread(target=start, args=(slot, i, at)))
            threads[-1].start()
        time.sleep(max(0, first + (slot + 1) * given.period - time.time() - 1))
    for thread in threads:
        thread.join(LONG + given.at_least)

    with open(ran, encoding="ascii") as lines:
        runs = sorted((float(at), int(slot)) for slot, at in (line.split() for line in lines))
    each = [sum(1 for _, slot in runs if slot == wanted) for wanted in range(given.slots)]
    gaps = [b[0] - a[0] for a, b in zip(runs, runs[1:])]
    print(f"{len(codes)} starts in {given.slots} slots: {len(runs)} runs, "
          f"{codes.count(99)} found the lock held; slots with one run: {each.count(1)}")
    # The job begins a little after its lock, by no more than it takes to start a shell.
    near = [gap for gap in gaps if gap < given.at_least - 1]
    faults = [code for code in codes if code not in (0, 99)]
    if near or faults or 0 in each or len(codes) != given.slots * given.starts:
        sys.exit(f"too near: {near}; other codes: {faults}; runs of each slot: {each}")


if __name__ == "__main__":
    main()
