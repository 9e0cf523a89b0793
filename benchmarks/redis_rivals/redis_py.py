# SPDX-License-Identifier: BSL-1.0
"""redis-py's own Lock, as contestants of benchmark_redis_rivals: threads of one process.

usage: redis_py.py --check
       redis_py.py CONTESTANT SOCKET SECONDS RUN

See contestants.hpp for the lines that are exchanged.
"""

import resource
import sys
import threading
import time

import redis

WAITERS = 64


def waiting(seconds, key, section, client):
    """Runs `section` under a lock, by WAITERS threads, until time is up. Returns the sections of each thread
    within that time, and all."""
    counts = [0] * WAITERS
    late = [0] * WAITERS
    failed = []
    end = time.monotonic() + seconds

    def work(i):
        try:
            lock = client.lock(key, timeout=10)  # as it comes: 0.1 s of sleep between attempts
            while True:
                left = end - time.monotonic()
                if left <= 0 or not lock.acquire(blocking_timeout=left):
                    return
                section()
                lock.release()
                if time.monotonic() < end:
                    counts[i] += 1
                else:
                    late[i] += 1
        except Exception as error:  # a thread's exception would be lost
            failed.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(WAITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return counts, sum(counts) + sum(late)


def one_key(client, run, seconds):
    return waiting(seconds, f"py:{run}", lambda: None, client)[0]


def section(client, run, seconds):
    value = f"py:{run}:value"
    client.set(value, 0)

    def increment():
        client.set(value, int(client.get(value)) + 1)

    counts, all_of_them = waiting(seconds, f"py:{run}", increment, client)
    if int(client.get(value)) != all_of_them:
        raise RuntimeError("lost updates")
    return counts


def main():
    if sys.argv[1] == "--check":
        redis.lock.Lock  # noqa: B018
        return
    contestant = {"one_key": one_key, "section": section}[sys.argv[1]]
    client = redis.Redis(unix_socket_path=sys.argv[2])
    seconds, run = float(sys.argv[3]), sys.argv[4]
    contestant(client, run + ":warm", min(seconds, 0.3))
    print("ready", flush=True)
    begin = float(sys.stdin.readline().split()[1])
    time.sleep(max(0.0, begin - time.time()))
    before = resource.getrusage(resource.RUSAGE_SELF)
    counts = contestant(client, run, seconds)
    after = resource.getrusage(resource.RUSAGE_SELF)
    print("sections", sum(counts) / seconds)
    print("waiters", *counts)
    print("cpu", after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


main()
