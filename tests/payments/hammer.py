#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0

"""hammer.py <payments> <store> [--seconds N] [--clients N] [--seed N] [--careless]

Clients pay and transfer; they send requests twice at once, cut connections, and send again, always under the
first key, until each request has its answer. Meanwhile the server's worker and the store are killed with
SIGKILL. Then every answer is asked for once more, and the books are compared with the answers.

Exit code 0: no payment was made twice, no answer differed, the books are equal to the answers. With
--careless the service ignores keys, and the exit code is 0 if the hammer has caught it.
"""

import argparse
import http.client
import importlib
import itertools
import json
import pathlib
import random
import re
import sys
import threading
import time
import uuid

sys.dont_write_bytecode = True

from service import Service  # noqa: E402

sys.path.append(str(pathlib.Path(__file__).parent.parent / "support"))
from progress import Progress  # noqa: E402

FINAL = (201, 402)
AGAIN = (409, 500, 503, 504)
TOO_MUCH = 100_000_000


class Counts:
    def __init__(self):
        self._lock = threading.Lock()
        self._values = {}

    def add(self, what, number=1):
        with self._lock:
            self._values[what] = self._values.get(what, 0) + number

    def __getitem__(self, what):
        return self._values.get(what, 0)

    def statuses(self):
        return {what: n for what, n in sorted(self._values.items()) if what.isdigit()}


class Asked:
    """A request, and all the final answers that anybody got to it."""

    def __init__(self, random_source):
        self.key = str(uuid.UUID(int=random_source.getrandbits(128)))
        amount = TOO_MUCH if random_source.random() < 0.05 else random_source.choice([1, 2])
        mine, other = random_source.sample(["alice", "bob"], 2)
        if random_source.random() < 0.5:
            self.path, self.body = "/payments", {"account": mine, "amount": amount}
        else:
            self.path, self.body = "/transfers", {"from": mine, "to": other, "amount": amount}
        self.answers = set()


class Client(threading.Thread):
    def __init__(self, hammer, number):
        super().__init__(daemon=True)
        self.hammer = hammer
        self.random = random.Random(f"{hammer.seed} {number}")
        self.connection = None
        self.mine = []
        self.failed = None

    def run(self):
        try:
            while not self.hammer.over.is_set():
                asked = Asked(self.random)
                self.mine.append(asked)
                self.settle(asked)
                dice = self.random.random()
                if dice < 0.25:
                    self.hammer.counts.add("replays")
                    self.settle(self.random.choice(self.mine))
                elif dice < 0.28:
                    self.misuse(asked)
        except Exception as error:  # told by the main thread
            self.failed = error

    def settle(self, asked):
        """Sends until there is a final answer."""
        for attempt in itertools.count(1):
            dice = self.random.random()
            if dice < 0.15:
                self.cut(asked)
                continue
            answer = self.twice_at_once(asked) if dice < 0.35 else self.send(asked)
            if answer is not None and answer[0] in FINAL:
                return
            if attempt > 2000:
                raise RuntimeError(f"no answer to {asked.key} after {attempt} attempts, the last: {answer}")
            time.sleep(self.random.uniform(0.01, 0.1))

    def begin(self, asked, connection):
        self.hammer.counts.add("requests")
        connection.request("POST", asked.path, json.dumps(asked.body), {"Idempotency-Key": f'"{asked.key}"'})

    def end(self, asked, connection):
        answer = connection.getresponse()
        status, body = answer.status, answer.read()
        self.hammer.counts.add(str(status))
        if answer.headers.get("Idempotent-Replayed") == "true":
            self.hammer.counts.add("replayed")
        if status in FINAL:
            asked.answers.add((status, body))
        elif status not in AGAIN:
            raise RuntimeError(f"{asked.path} {asked.body}: {status} {body}")
        return status, body

    def send(self, asked):
        try:
            if self.connection is None:
                self.connection = self.hammer.service.connect()
            self.begin(asked, self.connection)
            return self.end(asked, self.connection)
        except (OSError, http.client.HTTPException):
            self.hammer.counts.add("lost")
            if self.connection is not None:
                self.connection.close()
            self.connection = None
            return None

    def twice_at_once(self, asked):
        """Two connections, both sent before either is read."""
        self.hammer.counts.add("duplicates")
        answer = None
        pair = [self.hammer.service.connect(), self.hammer.service.connect()]
        begun = []
        for connection in pair:
            try:
                self.begin(asked, connection)
                begun.append(connection)
            except (OSError, http.client.HTTPException):
                self.hammer.counts.add("lost")
        for connection in begun:
            try:
                one = self.end(asked, connection)
                answer = one if one[0] in FINAL else answer or one
            except (OSError, http.client.HTTPException):
                self.hammer.counts.add("lost")
        for connection in pair:
            connection.close()
        return answer

    def cut(self, asked):
        """Hangs up without waiting for the answer."""
        self.hammer.counts.add("cuts")
        connection = self.hammer.service.connect()
        try:
            self.begin(asked, connection)
            time.sleep(self.random.choice([0, 0.002, 0.01]))
        except (OSError, http.client.HTTPException):
            self.hammer.counts.add("lost")
        connection.close()

    def misuse(self, asked):
        """The key of a request that was answered, for another one: never executed."""
        other = Asked(self.random)
        other.key, other.path = asked.key, asked.path
        other.body = {**asked.body, "amount": 3}
        try:
            connection = self.hammer.service.connect()
            self.begin(other, connection)
            answer = connection.getresponse()
            answer.read()
            self.hammer.counts.add(str(answer.status))
            if answer.status == 422:
                self.hammer.counts.add("mismatches")
            elif answer.status not in AGAIN and not self.hammer.careless:
                raise RuntimeError(f"another body under a used key: {answer.status}")
            elif answer.status == 201:
                self.hammer.counts.add("double")
            connection.close()
        except (OSError, http.client.HTTPException):
            self.hammer.counts.add("lost")


class Hammer:
    def __init__(self, options, store):
        self.seed = options.seed
        self.careless = options.careless
        self.store = store
        self.counts = Counts()
        self.over = threading.Event()
        self.service = Service(options.program, store.url, *(["--careless"] if options.careless else []))
        self.service.await_health()
        self.opened = self.accounts()

    def accounts(self):
        return {name: self.service.ask("GET", f"/accounts/{name}").json() for name in ("alice", "bob")}

    def finals(self):
        return sum(self.counts[str(status)] for status in FINAL)

    def hurt(self, seconds):
        """Kills the worker about once a second, and the store now and then.

        On a slow machine a worker that is killed each second never answers: so each kill waits until a few
        requests have been answered since the last one, and the end until enough has happened.
        """
        chance = random.Random(f"{self.seed} kills")
        begin = time.monotonic()
        next_store = begin + min(4, seconds / 3)
        progress = Progress("hammer", seconds, "s")

        def look(now):
            rate = self.finals() / max(now - begin, 0.001)
            progress.show(min(now - begin, seconds), f"; {self.finals():,} answers, {rate:,.0f}/s")

        def enough():
            return self.finals() >= 50 and self.counts["kills"] >= 3 and self.counts["store kills"] >= 1
        while (now := time.monotonic()) < begin + seconds or (not enough() and now < begin + seconds + 240):
            look(now)
            time.sleep(chance.uniform(0.2, 1.6))
            goal = self.finals() + 5
            patience = time.monotonic() + 20
            while self.finals() < goal and time.monotonic() < patience:
                time.sleep(0.02)
            if time.monotonic() > next_store:
                self.store.kill()
                time.sleep(chance.uniform(0, 0.3))
                self.store.start()
                self.counts.add("store kills")
                next_store = time.monotonic() + chance.uniform(5, 11)
            elif self.service.kill_worker():
                self.counts.add("kills")
        progress.hide()

    def run(self, seconds, clients):
        crew = [Client(self, number) for number in range(clients)]
        for client in crew:
            client.start()
        self.hurt(seconds)
        self.over.set()
        for client in crew:
            client.join(120)
        for client in crew:
            if client.failed or client.is_alive():
                raise SystemExit(f"hammer: a client failed: {client.failed or 'it does not end'}")
        self.service.await_health()
        return crew

    def ask_all_again(self, crew):
        """Every request once more, from everybody who made it: the answer has to be the first one."""
        def again(client):
            try:
                for asked in client.mine[-400:]:
                    while (answer := client.send(asked)) is None or answer[0] not in FINAL:
                        time.sleep(0.02)
            except Exception as error:
                client.failed = error
        threads = [threading.Thread(target=again, args=(client,), daemon=True) for client in crew]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)
        for client in crew:
            if client.failed:
                raise SystemExit(f"hammer: asked again: {client.failed}")


def judge(hammer, crew):
    """(double, differing, wrong): payments made twice, answers that differed, sums that do not fit."""
    all_asked = [asked for client in crew for asked in client.mine]
    differing = sum(len(asked.answers) != 1 for asked in all_asked)
    paid = [(asked, json.loads(body))
            for asked in all_asked for status, body in asked.answers if status == 201]
    closed = hammer.accounts()
    made = {name: closed[name]["entries"] - hammer.opened[name]["entries"] for name in closed}
    keys_paid = sum(any(status == 201 for status, _ in asked.answers) for asked in all_asked)
    double = sum(made.values()) - keys_paid
    wrong = 0
    for name in closed:
        out = sum(asked.body["amount"] for asked, _ in paid
                  if name in (asked.body.get("account"), asked.body.get("from")))
        into = sum(asked.body["amount"] for asked, _ in paid if asked.body.get("to") == name)
        wrong += abs(hammer.opened[name]["balance"] - out + into - closed[name]["balance"])
    wrong += len(paid) - len({answer["id"] for _, answer in paid})
    books = hammer.store.books()
    if books is not None:
        wrong += abs(books[0] - sum(made.values()))
        wrong += abs(books[1] - sum(asked.body["amount"] for asked, _ in paid))
    return double, differing, wrong, len(all_asked), keys_paid


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("store")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--careless", action="store_true")
    options = parser.parse_args()
    print(f"hammer: {options.store}, {options.seconds:g} s, {options.clients} clients, seed {options.seed}",
          flush=True)
    store = importlib.import_module("store_" + options.store).Store()
    try:
        hammer = Hammer(options, store)
        with hammer.service:
            crew = hammer.run(options.seconds, options.clients)
            if not options.careless:
                hammer.ask_all_again(crew)
            double, differing, wrong, asked, paid = judge(hammer, crew)
            crashes = re.findall(r"ended by signal (?!9 )\d+", hammer.service.said())
    finally:
        store.close()
    c = hammer.counts
    print(f"{asked} payments and transfers asked for in {c['requests']} requests: {c['duplicates']} twice at "
          f"once, {c['cuts']} cut off, {c['lost']} lost, {c['replays']} asked for again later, "
          f"{c['mismatches']} keys misused; {c['replayed']} answers were replays")
    print(f"answers by status: {json.dumps(c.statuses())}")
    print(f"killed with SIGKILL: the server {c['kills']} times, the store {c['store kills']} times")
    print(f"{paid} paid; made twice {double}, answers that differ {differing}, wrong in the books {wrong}")
    if crashes:
        sys.exit(f"hammer: the worker crashed: {crashes}")
    if options.careless:
        sys.exit(0 if double > 0 and differing > 0 else "hammer: a service without keys was not caught")
    if c["kills"] < 3 or c["store kills"] < 1 or c["replayed"] < 1 or paid < 10:
        sys.exit("hammer: too little happened to say anything")
    sys.exit(0 if double == differing == wrong == 0 else 1)


if __name__ == "__main__":
    main()
