#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""operators_on_postgres.py PROGRAM URL MANUAL

The statement that the manual gives to operators says of a lock what `dlock status` says of it.
"""

import json
import re
import subprocess
import sys

from harness import Dlock, expect, expect_in, stop, url_of_a_new_store


def main():
    program, url, manual = sys.argv[1:]
    d = Dlock(program, url_of_a_new_store(url))
    expect("setup", d.run("setup")[0], 0)
    with open(manual, encoding="utf-8") as file:
        statement = re.search(r"(?s)```sql\n(SELECT store.*?);\n```", file.read())[1]
    space = re.search("name_space=([a-z0-9_]+)", d.url)[1]
    expect_in("the name space", "interlock_lock", statement)
    statement = statement.replace("interlock_lock", space + "_lock")

    def seen():
        out = subprocess.run(
            ["psql", "-X", "-At", "-v", "ON_ERROR_STOP=1", url,
             "-c", f"SELECT coalesce(json_agg(l), '[]') FROM ({statement}) l"],
            stdout=subprocess.PIPE, check=True, text=True).stdout
        return json.loads(out)
    expect("nobody", seen(), [])
    names = ["job", "a\u00e4\\ '\""]
    holders = {name: d.holder("--ttl", "600", name) for name in names}
    said = {lock["name"]: lock for lock in json.loads(d.run("status", "--json")[1])}
    locks = seen()
    expect("as many", len(locks), len(names))
    for lock in locks:
        name = re.sub(r"\\(\d{3}|\\)", lambda found: "\\" if found[1] == "\\" else chr(int(found[1], 8)),
                      lock["key"]).encode("latin1").decode()
        known = said[name]
        expect(f"{name}: holder", lock["holder"], known["holder"])
        expect(f"{name}: since", lock["since"][:19], known["since"][:19])
        expect(f"{name}: token", lock["token"] >= known["token"], True)
        expect_in(f"{name}: remaining", "00:0", lock["remaining"])
        expect(f"{name}: wanted", lock["wanted"], False)
    for holder in holders.values():
        stop(holder)
    expect("nobody any more", seen(), [])


if __name__ == "__main__":
    main()
