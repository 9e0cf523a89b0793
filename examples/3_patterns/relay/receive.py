#!/usr/bin/python3
# SPDX-License-Identifier: BSL-1.0
"""Hears of the sales that relay hands on, in another language: receive.py BROKER EVENTS [QUEUE]

Needs Debian's python3-redis or python3-pika. Ends when EVENTS different ones have come, or none for five
seconds. Exit code: 0 all came, each stream in its order.
"""

import json
import sys


class Shelves:
    """What is kept of each stream. The id of an event is what a duplicate is known by."""

    def __init__(self):
        self.seen = set()
        self.last = {}
        self.again = 0
        self.out_of_order = 0

    def take(self, text):
        event = json.loads(text)
        assert event["specversion"] == "1.0" and event["type"] == "stock.sold", event
        assert event["data"]["sku"] == event["partitionkey"] == event["subject"], event
        if event["id"] in self.seen:
            self.again += 1
            return
        self.seen.add(event["id"])
        number = int(event["sequence"])
        if number != self.last.get(event["subject"], 0) + 1:
            self.out_of_order += 1
        self.last[event["subject"]] = number


def from_redis(url, shelves, expect):
    import redis

    if url.startswith("unix:///"):
        server = redis.Redis(unix_socket_path=url[len("unix://"):])
    else:
        server = redis.Redis.from_url(url)
    place = "0-0"
    while len(shelves.seen) < expect:
        answer = server.xread({"stock.events": place}, count=100, block=5000)
        if not answer:
            return
        for place, fields in answer[0][1]:
            shelves.take(fields[b"cloudevent"])


def from_rabbitmq(url, shelves, expect, queue):
    import pika

    channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
    channel.exchange_declare("stock.events", "topic", durable=True)
    channel.queue_declare(queue, durable=True)
    channel.queue_bind(queue, "stock.events", "#")
    for method, properties, body in channel.consume(queue, inactivity_timeout=5):
        if body is None:
            return
        assert properties.message_id == json.loads(body)["id"]
        assert properties.content_type.startswith("application/cloudevents+json")
        shelves.take(body)
        channel.basic_ack(method.delivery_tag)  # behind the effect
        if len(shelves.seen) >= expect:
            return


def main():
    url, expect = sys.argv[1], int(sys.argv[2])
    shelves = Shelves()
    if url.startswith("amqp:"):
        from_rabbitmq(url, shelves, expect, sys.argv[3] if len(sys.argv) > 3 else "python")
    else:
        from_redis(url, shelves, expect)
    print(f"received {len(shelves.seen)} events, {shelves.again} again, {shelves.out_of_order} out of order")
    sys.exit(0 if len(shelves.seen) == expect and shelves.out_of_order == 0 else 1)


if __name__ == "__main__":
    main()
