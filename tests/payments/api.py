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


def check_bodies(caller):
    """What two programs would read differently is refused by name, and changes nothing."""
    pay = '{"account": "alice", "amount": %s}'
    before = account(caller, "alice")
    for text, said in (
            ('{"account": "alice", "amount": 1, "amount": 2}', '"amount" is there twice'),
            ('{"account": "bob", "amount": 1, "acco\\u0075nt": "alice"}', '"account" is there twice'),
            ('{"account": "alice", "amount": 1, "currency": "EUR"}', '"currency" is not known'),
            ('{"account": "alice", "amount": 1, "a\\"\\n": {"amount": 1, "x": [":"]}}', "is not known"),
            ("\ufeff" + pay % 1, "no JSON"), ('{"account": "alice", "amount": 1,}', "no JSON"),
            ('{"account": "alice", /**/ "amount": 1}', "no JSON"), (pay % 1 + pay % 1, "no JSON"),
            (pay % "NaN", "no JSON"), (pay % "01", "no JSON"), (pay % "+1", "no JSON"),
            (pay % "0x1", "no JSON"), (pay % ("[" * 5000), "no JSON"), (f"[{pay % 1}]", "no JSON object"),
            (pay % "1e2", "must be"), (pay % "1.0", "must be"), (pay % "-0", "must be"),
            (pay % "1e999999999", ""), (pay % "-1e-999999999", ""), (pay % ("9" * 400), ""),
            (pay % "true", "must be"), (pay % "null", "must be"), (pay % '[1]', "must be"),
            ('{"account": "\\ud800", "amount": 1}', "no JSON"),
            ('{"account": "\\udc00 ", "amount": 1}', "no JSON"),
            ('{"account": "al\\u0000ice", "amount": 1}', "must be"),
            ('{"account": "\t", "amount": 1}', "no JSON"),
            ('{"account": "%s", "amount": 1}' % ("\u00e4" * 65), "must be")):
        answer = caller.post("/payments", text.encode(), fresh(), 400)
        expect(said in answer.json()["detail"], f"{text[:80]}: {answer}")
    caller.post("/payments", b'{"account": "al\xffice", "amount": 1}', fresh(), 400)
    caller.post("/payments", ('{"account": "%s", "amount": 1}' % ("\u00e4" * 64)).encode(), fresh(), 404)
    twice = b'{"when": "now", "when": "after commit"}'
    caller.post("/unplug", twice, fresh(), 409 if caller.in_memory else 400)
    expect(account(caller, "alice") == before, "a refused body changed something")
    key = fresh()
    first = caller.post("/payments", '{"acc\\u006funt": "alice", "amount": 1}'.encode(), key, 201)
    expect(first.json()["account"] == "alice", f"{first}")


def raw(service, *pieces, then_close=True):
    """All that is answered to these bytes, sent one after the other, until the server hangs up."""
    with socket.create_connection(("127.0.0.1", service.port), 20) as connection:
        for piece in pieces:
            connection.sendall(piece)
            if piece != pieces[-1]:
                time.sleep(0.05)
        if then_close:
            connection.shutdown(socket.SHUT_WR)  # and goes on reading
        said = b""
        while more := connection.recv(65536):
            said += more
        return said


def head(method, target, *fields):
    return "\r\n".join((f"{method} {target} HTTP/1.1", "Host: x", *fields, "", "")).encode()


def statuses(said):
    return [int(line) for line in re.findall(rb"HTTP/1\.1 (\d+) ", said)]


def check_wire(caller):
    """What stands on the wire: who asks before the body, bodies in pieces, requests behind one another, and
    requests of which two readers would not agree where they end."""
    service = caller.service

    def answers(want, *pieces, **how):
        said = raw(service, *pieces, **how)
        expect(statuses(said) == want, f"{pieces[0][:200]}: {said[:400]}, expected {want}")
        return said
    body = b'{"account": "alice", "amount": 1}'
    sized = f"Content-Length: {len(body)}"
    waits = "Expect: 100-Continue"

    def keyed():
        return f"Idempotency-Key: {fresh()}"
    # Who asks before the body.
    answers([100, 201], head("POST", "/payments", keyed(), sized, waits), body)
    answers([400], head("POST", "/payments", sized, waits))
    answers([400], head("POST", "/payments", "Idempotency-Key: a, b", sized, waits))
    answers([404], head("POST", "/nothing", keyed(), sized, waits))
    answers([405], head("PUT", "/payments", keyed(), sized, waits))
    answers([413], head("POST", "/payments", keyed(), "Content-Length: 99999999", waits))
    answers([417], head("POST", "/payments", keyed(), sized, "Expect: 200-maybe"))
    answers([201], head("POST", "/payments", keyed(), sized, waits).replace(b"HTTP/1.1", b"HTTP/1.0"), body)
    answers([413], head("POST", "/payments", keyed(), "Content-Length: 9000000") + b" " * 9_000_000)

    # Bodies in pieces. What stands behind them is no part of the head.
    pieces = b"".join(b"%x;x=y\r\n%c\r\n" % (1, c) for c in body) + b"0\r\n"
    chunked = "Transfer-Encoding: chunked"
    answers([201], head("POST", "/payments", keyed(), chunked), pieces, b"X-Sum: 1\r\n\r\n")
    answers([400], head("POST", "/payments", chunked) + pieces + keyed().encode() + b"\r\n\r\n")
    key = keyed()
    answers([201, 201], *[head("POST", "/payments", key, chunked) + pieces
                          + b"Idempotency-Key: other\r\nConnection: close\r\n\r\n"] * 2)
    answers([413], head("POST", "/payments", keyed(), chunked) + b"4001\r\n" + b" " * 0x4001)
    answers([400], head("POST", "/payments", keyed(), chunked) + b"zz\r\n")

    # Behind one another, and cut anywhere; half-closed.
    paid = head("POST", "/payments", key, sized) + body
    three = answers([200, 201, 404], head("GET", "/health") + paid + head("GET", "/nothing"))
    expect(b"Idempotent-Replayed: true" in three, "the same key, in pieces or not")
    answers([201], *[paid[at:at + 40] for at in range(0, len(paid), 40)])
    answers([200], head("GET", "/health", "Connection: close") + head("GET", "/nothing"), then_close=False)

    # Two readers would not agree.
    behind = body + head("GET", "/health")
    for fields, status in (
            ((sized, chunked), 400), ((chunked, sized), 400), ((sized, "Content-Length: 3"), 400),
            ((sized, sized), 400), (("Content-Length: 3, 3",), 400), (("Content-Length: +3",), 400),
            (("Content-Length: -1",), 400), (("Content-Length: 0x3",), 400), (("Content-Length : 3",), 400),
            (("Content-Length: " + "9" * 40,), 400), (("Transfer-Encoding: gzip",), 501),
            (("Transfer-Encoding: xchunked",), 501), (("Transfer-Encoding: chunked, gzip",), 501),
            (("Transfer-Encoding: gzip, chunked",), 501), ((chunked, chunked), 400),
            ((chunked, "Transfer-Encoding: identity"), 400), ((sized, "Host: y"), 400), ((sized, " x"), 400)):
        answers([status], head("POST", "/payments", keyed(), *fields) + behind)
    answers([400], head("POST", "/payments", keyed(), chunked).replace(b"HTTP/1.1", b"HTTP/1.0") + pieces)
    answers([400], b"GET /health HTTP/1.1\r\n\r\n")
    answers([200], b"GET /health HTTP/1.0\r\n\r\n")
    answers([505], b"GET /health HTTP/2.0\r\n\r\n")
    answers([400], b"\x00\x01 what?\r\n\r\n")
    answers([], b"")
    answers([], b"POST /payments HTTP/1.1\r\nHo")
    answers([], head("POST", "/payments", keyed(), sized) + body[:5])  # nobody waits for an answer
    for field in ("Idempotency-Key: " + "k" * 9000, "X" * 9000 + ": y"):
        answers([431], head("POST", "/payments", field, sized) + body)
    # Names for the same thing, and methods.
    for target, status in (
            ("http://x/health", 200), ("HTTPS://x:1/health?a=b", 200), ("http://x", 200), ("/%68ealth", 200),
            ("/accounts/%61lice", 200), ("/accounts/a%2Fb", 404), ("/accounts%2Falice", 404),
            ("/accounts/al%ice", 400), ("/accounts/%", 400), ("/accounts/%4", 400), ("*", 400),
            ("//health", 404),
            ("/health/", 404), ("/./health", 404), ("/accounts/", 404), ("/accounts/alice?x", 200)):
        answers([status], head("GET", target))
    for method, status in (("OPTIONS", 405), ("TRACE", 405), ("DELETE", 405), ("BREW", 501), ("get", 501)):
        answers([status], head(method, "/health"))


def check_keys(caller):
    """Strings of structured fields, and what is none."""
    for key in ('"a,b"', '"a\\"b"', '"a\\\\b"', '"a b"', '"k";v=1', '"k2"; v="x;y"', "k" * 255, "~!*'()"):
        caller.post("/payments", PATHS["/payments"], key, 201)
    same = caller.post("/payments", PATHS["/payments"], '"~!*\'()"', 201)
    expect(same.headers["Idempotent-Replayed"] == "true", "a bare key is the same in quotes")
    for key in ('"a\\n"', '"a', 'a"', '"a"b', '"a";', '"a";V', '"a", "a"', "a,b", "a;b", "\u00e4",
                '"\u00e4"', '"\t"', '"' + "k" * 256 + '"', "?1 x", ["a", "a"], ["", "a"]):
        sent = [one.encode() for one in key] if isinstance(key, list) else key.encode()
        caller.post("/payments", PATHS["/payments"], sent, 400)
    caller.get("/accounts/%", "/accounts/{id}", 400)


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
        expect(statuses(other.recv(100)) == [400], "no HTTP was not refused")
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
        caller.in_memory = store == "memory:"
        check_pages(caller)
        check_once(caller)
        check_transfer(caller)
        check_refused(caller)
        check_bodies(caller)
        check_wire(caller)
        check_keys(caller)
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
