#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0

"""api.py <payments> <URL of the store>

What the service answers, on any store, each answer held against the service's own openapi.json.
"""

import email.utils
import http.client
import re
import shutil
import socket
import subprocess
import sys
import time
import uuid

sys.dont_write_bytecode = True

import schema  # noqa: E402
from service import Service, stops_with_careless_parent  # noqa: E402


http_error = http.client.HTTPException


def expect(good, what):
    if not good:
        raise SystemExit(f"payments: {what}")


class Contract:
    """openapi.json, and which of its answers were seen."""

    def __init__(self, service):
        self.document = service.ask("GET", "/openapi.json").json()
        expect(self.document["openapi"].startswith("3.1."), "openapi.json is not OpenAPI 3.1")
        self.seen = set()

    def said(self):
        return {(method, path, status)
                for path, methods in self.document["paths"].items()
                for method, operation in methods.items()
                for status in operation["responses"]}

    def hold(self, method, path, answer):
        """`answer` to a request of `path`, a path of the document, is one that the document describes."""
        method, status = method.lower(), str(answer.status)
        operation = self.document["paths"][path][method]
        expect(status in operation["responses"], f"{method} {path}: {status} is not described: {answer}")
        response = schema.resolve(self.document, operation["responses"][status])
        for name, header in response.get("headers", {}).items():
            header = schema.resolve(self.document, header)
            value = answer.headers.get(name)
            expect(value is not None or not header.get("required"),
                   f"{method} {path}: {status} without {name}")
            if value is not None:
                schema.check(self.document, header["schema"], value, name)
        kind = answer.headers["Content-Type"].split(";")[0]
        expect(kind in response["content"], f"{method} {path}: {status} is {kind}")
        body = answer.json() if kind.endswith("json") else answer.body.decode()
        schema.check(self.document, response["content"][kind]["schema"], body)
        if kind == "application/problem+json":
            expect(body["status"] == answer.status, f"{path}: the problem has another status: {body}")
        self.seen.add((method, path, status))
        return answer


class Caller:
    """Sends to a service, and holds each answer against its contract."""

    def __init__(self, service):
        self.service = service
        self.contract = Contract(service)

    def post(self, path, body, key, want, **headers):
        answer = self.service.post(path, body, key, **headers)
        expect(answer.status == want, f"POST {path} {body} with {key}: {answer}, expected {want}")
        return self.contract.hold("POST", path, answer)

    def get(self, path, described, want):
        answer = self.service.ask("GET", path)
        expect(answer.status == want, f"GET {path}: {answer}, expected {want}")
        return self.contract.hold("GET", described, answer)


def fresh():
    return str(uuid.uuid4())


PATHS = {
    "/payments": {"account": "alice", "amount": 30},
    "/transfers": {"from": "alice", "to": "bob", "amount": 5},
}


def account(caller, name):
    return caller.get(f"/accounts/{name}", "/accounts/{id}", 200).json()


def check_once(caller):
    """Sent twice, made once; another body is refused; a refusal is an answer that stays."""
    for path, body in PATHS.items():
        before = account(caller, "alice")
        key = fresh()
        first = caller.post(path, body, f'"{key}"', 201)
        again = caller.post(path, body, f'"{key}"', 201)
        bare = caller.post(path, body, key, 201)
        expect(first.body == again.body == bare.body, f"{first} {again} {bare}")
        expect(first.headers["Idempotent-Replayed"] is None, "the first answer is no replay")
        expect(again.headers["Idempotent-Replayed"] == "true", "the second answer is a replay")
        after = account(caller, "alice")
        expect(after["balance"] == before["balance"] - body["amount"], f"{before} {after}")
        expect(after["entries"] == before["entries"] + 1, f"{before} {after}")
        caller.post(path, {**body, "amount": 31}, key, 422)

        poor = {**body, "amount": 100_000_000}
        key = fresh()
        refused = caller.post(path, poor, key, 402)
        stays = caller.post(path, poor, key, 402)
        expect(refused.body == stays.body, f"{refused} {stays}")
        expect(stays.headers["Idempotent-Replayed"] == "true", "a refusal is stored")
        expect(account(caller, "alice")["entries"] == after["entries"], "a refusal changed something")
    # The operation is a part of the scope.
    key = fresh()
    for path, body in PATHS.items():
        expect(caller.post(path, body, key, 201).headers["Idempotent-Replayed"] is None, "another operation")


def check_transfer(caller):
    before = account(caller, "alice"), account(caller, "bob")
    caller.post("/transfers", {"from": "bob", "to": "alice", "amount": 7}, fresh(), 201)
    after = account(caller, "alice"), account(caller, "bob")
    expect(after[0]["balance"] == before[0]["balance"] + 7, "alice did not get it")
    expect(after[1]["balance"] == before[1]["balance"] - 7, "bob did not give it")


def check_refused(caller):
    for path, body in PATHS.items():
        missing = caller.contract.hold("POST", path, caller.service.ask("POST", path, body))
        expect(missing.status == 400 and "is missing" in missing.json()["detail"], f"{missing}")
        for key in ("", '""', '"a', "a b", "k" * 256, '"a", "b"', ["a", "b"]):
            caller.post(path, body, key, 400)
        for bad in (b"", b"{", b"[]", {}, {**body, "amount": 0}, {**body, "amount": -1},
                    {**body, "amount": 1.5}, {**body, "amount": "1"}, {**body, "amount": 100_000_001}):
            caller.post(path, bad, fresh(), 400)
        caller.post(path, b" " * 20000, fresh(), 413)
    caller.post("/payments", {"account": "nobody", "amount": 1}, fresh(), 404)
    caller.post("/payments", {"account": "", "amount": 1}, fresh(), 400)
    caller.post("/transfers", {"from": "alice", "to": "nobody", "amount": 1}, fresh(), 404)
    caller.post("/transfers", {"from": "alice", "to": "alice", "amount": 1}, fresh(), 400)
    caller.get("/accounts/nobody", "/accounts/{id}", 404)
    for method, path, status in (
            ("GET", "/payments", 405), ("POST", "/health", 405), ("GET", "/nothing", 404)):
        answer = caller.service.ask(method, path)
        expect(answer.status == status and answer.json()["status"] == status, f"{method} {path}: {answer}")
        expect((answer.headers["Allow"] is not None) == (status == 405), f"{method} {path}: Allow")


def check_trace(caller):
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    def out(given):
        got = caller.service.ask("GET", "/health", headers=given).headers["traceparent"]
        expect(re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", got), f"traceparent: {got}")
        return got.split("-")
    ours = out({"traceparent": parent})
    expect(ours[1] == parent.split("-")[1] and ours[3] == "01", f"another trace: {ours}")
    expect(ours[2] != parent.split("-")[2], "the span is the caller's")
    expect(out({"traceparent": "cc" + parent[2:] + "-what"})[1] == ours[1], "a later version goes on")
    for bad in ({}, {"traceparent": "00-" + "0" * 32 + "-b7ad6b7169203331-01"},
                {"traceparent": parent.upper()}, {"traceparent": parent + "-x"},
                {"traceparent": "ff" + parent[2:]}):
        expect(out(bad)[1] not in (ours[1], "0" * 32), f"a new trace, {bad}")


def check_metrics(caller):
    text = caller.get("/metrics", "/metrics", 200).body.decode()
    if shutil.which("promtool"):
        said = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
        expect(said.returncode == 0 and not said.stderr, f"promtool: {said.stderr}")
    families, samples = {}, {}
    for line in text.splitlines():
        if found := re.fullmatch(r"# (HELP|TYPE) (\w+) (.+)", line):
            families.setdefault(found[2], set()).add(found[1])
            continue
        found = re.fullmatch(r'(\w+)(\{(?:\w+="[^"\\]*",?)*\})? ([0-9.e+-]+)', line)
        expect(found, f"/metrics: {line}")
        samples[found[1] + (found[2] or "")] = float(found[3])
        family = re.sub("_(bucket|sum|count)$", "", found[1])
        expect(families.get(family) == {"HELP", "TYPE"}, f"/metrics: {line} is not described")
    paid = 'payments_http_requests_total{method="POST",route="/payments",status="201"}'
    expect(samples[paid] >= 3, f"/metrics: {paid} {samples[paid]}")
    expect(samples['payments_idempotency_total{result="replayed"}'] >= 4, "/metrics: replays")
    expect(samples['payments_idempotency_total{result="mismatch"}'] >= 2, "/metrics: mismatches")
    expect(samples["payments_http_requests_under_way"] == 1, "/metrics: the request itself is under way")
    expect(samples["payments_http_request_duration_seconds_count"]
           == samples['payments_http_request_duration_seconds_bucket{le="+Inf"}'], "/metrics: histogram")


def check_pages(caller):
    caller.get("/health", "/health", 200)
    caller.get("/openapi.json", "/openapi.json", 200)
    page = caller.get("/", "/", 200)
    expect(b"<title>" in page.body, "the page")
    date = email.utils.parsedate_to_datetime(page.headers["Date"])
    expect(abs(date.timestamp() - time.time()) < 60, f"Date: {page.headers['Date']}")


def check_connections(service):
    """Several requests on one connection; a client that speaks no HTTP harms nobody."""
    connection = service.connect()
    for _ in range(3):
        connection.request("GET", "/health")
        answer = connection.getresponse()
        answer.read()
        expect(answer.status == 200 and not answer.will_close, "the connection was closed")
    for path, status in (("/health", 200), ("/payments", 405), ("/nothing", 404)):
        connection.request("HEAD", path)  # a body would be read as the next answer
        answer = connection.getresponse()
        expect(answer.status == status and int(answer.headers["Content-Length"]) > 0, f"HEAD {path}")
        expect(answer.read() == b"", f"HEAD {path} has a body")
    with socket.create_connection(("127.0.0.1", service.port)) as other:
        other.sendall(b"\x00\x01 what?\r\n\r\n")
        expect(other.recv(100) == b"", "no HTTP was answered")
    connection.request("GET", "/health")
    expect(connection.getresponse().read() != b"", "the connection is gone")
    connection.close()


def check_streams(program):
    """Requests are answered, and a killed worker is started again, though nobody can read the log and the
    parent has ignored the ends of children."""
    with open("/dev/full", "wb") as full:
        with Service(program, "memory:", "--log", log=full, begin=stops_with_careless_parent) as service:
            service.await_health()
            worker = service.worker()
            for _ in range(5):
                expect(service.ask("GET", "/health").status == 200, "no answer where the log is full")
            expect(service.worker() == worker, "the worker has ended for its log")
            service.kill_worker()
            service.await_health()
            expect(service.stop() == 0, "its end, where the log is full")
        usage = subprocess.run([program, "--help"], stdout=full, stderr=subprocess.PIPE)
        expect(usage.returncode == 1 and b"cannot be written" in usage.stderr, "--help to a full disk")


def run(program, store, more=lambda caller: None):
    with Service(program, store, "--plug") as service:
        service.await_health()
        caller = Caller(service)
        check_pages(caller)
        check_once(caller)
        check_transfer(caller)
        check_refused(caller)
        check_trace(caller)
        check_metrics(caller)
        check_connections(service)
        caller.post("/unplug", {"when": "sometime"}, "x", 409 if store == "memory:" else 400)
        more(caller)
        code = service.stop()
        expect(code == 0, f"after SIGTERM: exit code {code}: {service.said()}")
    with Service(program, store) as service:
        service.await_health()
        caller.service = service
        caller.post("/unplug", {"when": "now"}, "x", 404)
    return caller


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2])
    check_streams(sys.argv[1])
    print("payments: as described")
