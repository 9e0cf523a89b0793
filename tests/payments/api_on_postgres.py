#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0

"""api_on_postgres.py <payments>

What api.py checks, and what a server that is slow, away or in doubt is answered with: then every answer that
openapi.json describes has been seen. And the service ends as it should.
"""

import concurrent.futures
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True

import api  # noqa: E402
from api import PATHS, account, expect, fresh  # noqa: E402
from service import Service, wait_until  # noqa: E402
from store_postgres import Store  # noqa: E402


class TableLocked:
    """Somebody else has the table of payments: a request comes as far as its own row there."""

    def __init__(self, store):
        self.session = subprocess.Popen(
            ["psql", "-X", "-q", "-A", "-t", store.url], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)
        self.session.stdin.write("BEGIN; LOCK TABLE bank.payments; SELECT 'locked';\n")
        self.session.stdin.flush()
        expect(self.session.stdout.readline() == "locked\n", "the table is not locked")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.session.communicate("ROLLBACK;\n")


def check_slow(caller, store):
    """While the first is under way: 409 for the same key. Too slow: 504, and nothing was changed."""
    store.sql("INSERT INTO bank.accounts VALUES ('carol', 1000, 0), ('dave', 1000, 0)")
    bodies = {"/payments": {"account": "alice", "amount": 30},
              "/transfers": {"from": "carol", "to": "dave", "amount": 5}}  # others, so that neither waits
    keys = {path: fresh() for path in bodies}

    def ask(path, body):
        caller.post(path, body, keys[path], 504)

    def ask_again(path, body):
        answers = []

        def refused():
            answers.append(caller.service.post(path, body, keys[path]))
            return answers[-1].status == 409
        time.sleep(0.5)
        wait_until(refused, 2, "a duplicate was not refused")
        caller.contract.hold("POST", path, answers[-1])

    before = account(caller, "alice"), account(caller, "carol")
    with TableLocked(store), concurrent.futures.ThreadPoolExecutor(4) as at_once:
        running = [at_once.submit(what, *one) for what in (ask, ask_again) for one in bodies.items()]
        for one in running:
            one.result()
    expect(before == (account(caller, "alice"), account(caller, "carol")),
           "a request that took too long changed something")
    for path, body in bodies.items():
        caller.post(path, body, keys[path], 201)


def check_doubt(caller, store):
    """The commit is not confirmed by the standby that it has to wait for: 500, and the same key tells."""
    def set_standby(change, name):
        store.sql(f"ALTER SYSTEM {change}")
        store.sql("SELECT pg_reload_conf()")
        wait_until(lambda: store.sql("SHOW synchronous_standby_names") == name, 10, "no other setting")

    keys = {path: fresh() for path in PATHS}
    before = account(caller, "alice")["entries"]

    def ask(path, body):
        doubt = caller.post(path, body, keys[path], 500)
        expect("same Idempotency-Key" in doubt.json()["detail"], f"{doubt}")
    set_standby("SET synchronous_standby_names = 'nobody'", "nobody")
    try:
        for path, body in PATHS.items():
            ask(path, body)
    finally:
        set_standby("RESET synchronous_standby_names", "")
    for path, body in PATHS.items():
        known = caller.post(path, body, keys[path], 201)
        expect(known.headers["Idempotent-Replayed"] == "true", f"{known}")
    expect(account(caller, "alice")["entries"] == before + 2, "in doubt, and made twice or never")


def check_away(caller, store):
    """The database is killed: 503 at once; and when it is back, the same key goes on."""
    keys = {path: fresh() for path in PATHS}
    store.kill()
    for path, body in PATHS.items():
        caller.post(path, body, keys[path], 503)
    caller.get("/health", "/health", 503)
    caller.get("/accounts/alice", "/accounts/{id}", 503)
    store.start()
    caller.service.await_health()
    for path, body in PATHS.items():
        caller.post(path, body, keys[path], 201)


def check_plug(caller):
    """The worker dies between commit and answer; the next one has the answer."""
    key = fresh()
    before = account(caller, "alice")["entries"]
    worker = caller.service.worker()
    caller.post("/unplug", {"when": "after commit"}, "x", 202)
    try:
        expect(False, f"the worker answered: {caller.service.post('/payments', PATHS['/payments'], key)}")
    except (OSError, api.http_error):
        pass
    caller.service.await_health()
    expect(caller.service.worker() != worker, "the worker lives")
    again = caller.post("/payments", PATHS["/payments"], key, 201)
    expect(again.headers["Idempotent-Replayed"] == "true", "it was paid before the worker died")
    expect(account(caller, "alice")["entries"] == before + 1, "paid twice")


def check_graceful_end(program, store):
    """What is under way at SIGTERM is answered; an idle connection is closed; nobody new is served."""
    with Service(program, store.url) as service:
        service.await_health()
        idle = service.connect()
        idle.request("GET", "/health")
        idle.getresponse().read()
        answers = []
        with TableLocked(store):
            under_way = threading.Thread(
                target=lambda: answers.append(service.post("/payments", PATHS["/payments"], fresh())))
            under_way.start()
            time.sleep(0.7)
            service.process.terminate()
            time.sleep(0.7)
            expect(service.process.poll() is None, "it ended before what was under way")
            expect(idle.sock.recv(1) == b"", "an idle connection stays open")
        under_way.join()
        code = service.process.wait(20)
        expect(code == 0 and answers and answers[0].status == 201, f"exit code {code}, {answers}")
        try:
            expect(False, f"after its end: {service.ask('GET', '/health')}")
        except OSError:
            pass


def main():
    store = Store()
    try:
        def more(caller):
            check_plug(caller)
            check_slow(caller, store)
            check_doubt(caller, store)
            check_away(caller, store)
        caller = api.run(sys.argv[1], store.url, more)
        check_graceful_end(sys.argv[1], store)
        with Service(sys.argv[1], "memory:", "--plug") as service:
            service.await_health()
            caller.service = service
            caller.post("/unplug", {"when": "now"}, "x", 409)
        unseen = caller.contract.said() - caller.contract.seen
        expect(not unseen, f"openapi.json describes answers that were not seen: {sorted(unseen)}")
        print(f"payments: as described, {len(caller.contract.seen)} answers")
    finally:
        store.close()


if __name__ == "__main__":
    main()
