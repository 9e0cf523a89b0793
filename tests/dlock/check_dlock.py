#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""dlock, as its users run it, on a real server: check_dlock.py PROGRAM URL [CASE...]

Each case has locks of its own, so that several run at a time: most of their time is waiting for leases.
"""

import ctypes
import functools
import json
import os
import pty
import select
import signal
import subprocess
import sys
import tempfile
import time

from harness import LONG, Dlock, alive, expect, expect_in, run_all, stop, until, url_of_a_new_store

TTL = 3  # seconds, of a lock that somebody is to lose: short enough to wait for
LEASE = 9  # seconds, of a lock that is to be kept: a busy machine renews it in that time

CASES = []


def case(function):
    CASES.append(function)
    return function


def free(d, name):
    return d.run("status", name)[0] == 0


# ---- the command and its code -------------------------------------------------------------------


@case
def the_code_is_that_of_the_command(d):
    expect("0", d.run("a1", "--", "true")[0], 0)
    expect("7", d.run("a1", "-c", "exit 7")[0], 7)
    expect("killed", d.run("a1", "-c", "kill -KILL $$")[0], 128 + 9)
    code, _, err = d.run("a1", "--", "/no/such/command")
    expect("not found", code, 127)
    expect_in("says which", "/no/such/command", err)
    expect("not to be run", d.run("a1", "--", "/etc/passwd")[0], 126)
    expect("output", d.run("a1", "--", "echo", "one", "two three")[1], "one two three\n")
    expect("a name that is a word of dlock's", d.run("status", "--", "echo", "x")[1], "x\n")
    expect("free again", free(d, "a1"), True)


@case
def a_mistake_is_dlocks_own_code_and_is_said(d):
    for words, said in [
            (["a2"], "no command"), (["--ttl", "soon", "a2", "--", "true"], "no duration"),
            (["--", "true"], "NAME is required"), (["--no-such", "a2", "--", "true"], "no-such"),
            (["a2", "-c", "true", "--", "true"], "not both"), (["-dash", "--", "true"], "no option '-dash'"),
            (["a2", "--json", "--", "true"], "no option '--json'"), (["setup", "a2"], "a2"),
            (["a2\nb", "-c", "true"], "line break"), (["n" * 513, "--", "true"], "1 to 512 bytes"),
            (["", "--", "true"], "1 to 512 bytes"), (["-w", "1s ", "a2", "--", "true"], "no duration"),
            (["--ttl", "1ms", "a2", "--", "true"], "--ttl must be"),
            (["--store", "memory:", "a2", "--", "true"], "belongs to one process"),
            (["--store", "nonsense://user:secret@x", "a2", "--", "true"], "no backend for 'nonsense'")]:
        code, _, err = d.run(*words)
        expect(str(words), code, 125)
        expect_in(str(words), said, err)
        expect("no password", "secret" in err, False)
    code, out, _ = d.run("--help")
    expect("help", code, 0)
    expect_in("help", "--at-least", out)
    with open("/dev/full", "w") as full:
        for word in ("--help", "--version"):
            said = subprocess.run([d.program, word], stdout=full, stderr=subprocess.PIPE, text=True)
            expect(f"{word} to a full disk", said.returncode, 125)
            expect_in(f"{word} to a full disk", "cannot be written", said.stderr)
    code, _, err = d.run("a2", "--", "true", env={k: v for k, v in os.environ.items() if k != "DLOCK_STORE"})
    expect("no store", code, 125)
    expect_in("no store", "--store URL", err)


@case
def a_name_is_what_was_written(d):
    show = "printf %s \"$DLOCK_NAME\""
    names = ("[a4]", "[a4,b4]", "[]", "-", "-1", "/a4/b", " ", "n" * 512)
    for name in names:
        expect(name, d.run("-n", name, "-c", show)[:2], (0, name))
    expect("status", d.run("status", *names)[:2], (0, "".join(name + ": free\n" for name in sorted(names))))
    holder = d.holder("[a4]")
    expect("held", d.run("-n", "[a4]", "--", "true")[0], 1)
    expect("another one", d.run("-n", "a4", "--", "true")[0], 0)
    stop(holder)
    expect("an empty command", d.run("a4", "-c", "")[:2], (0, ""))


@case
def words_of_dlock_are_names_where_there_is_a_command(d):
    for word in ("status", "break", "wait", "setup"):
        expect(f"{word} with a command", d.run(word, "--", "echo", "hi")[:2], (0, "hi\n"))
        code, _, err = d.run("-n", word)
        expect(f"{word} behind an option", code, 125)
        expect_in(f"{word} behind an option", "comes before all options", err)
        expect(f"a lock called {word}", d.run("run", word, "--", "echo", "hi")[:2], (0, "hi\n"))
        expect(f"{word} as another name", d.run("x", word, "--", "echo", "hi")[:2], (0, "hi\n"))


@case
def a_parent_that_ignores_the_ends_of_children_hides_none(d):
    ignore = (
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); "
        "os.execv(sys.argv[1], sys.argv[1:])")
    before = [sys.executable, "-c", ignore]
    expect("the code", d.run("c7", "-c", "exit 7", before=list(before))[0], 7)
    expect("none", d.run("c7", "--", "/nowhere/at/all", before=list(before))[0], 127)


@case
def closed_descriptors_are_nobodys_connection(d):
    for closed in ((0,), (1,), (2,), (0, 1, 2)):
        close = functools.partial(lambda numbers: [os.close(n) for n in numbers], closed)
        expect(str(closed), d.run("-v", "a5", "-c", "exit 7", preexec_fn=close)[0], 7)
    reader, writer = os.pipe()  # standard error goes nowhere
    os.close(reader)
    process = d.start("-v", "a5", "-c", "exit 7", preexec_fn=lambda: os.dup2(writer, 2))
    process.communicate(timeout=LONG)
    os.close(writer)
    expect("a reader that has gone", process.returncode, 7)
    code, _, err = d.run("status", "a5", preexec_fn=functools.partial(os.close, 1))
    expect("status", code, 125)
    expect_in("status says so", "cannot be written", err)
    code = d.run("a5", "-c", "cat", preexec_fn=functools.partial(os.close, 0))[0]
    expect("still closed for the command", code, 1)


@case
def a_store_that_is_away_is_said_without_its_password(d):
    scheme = d.url.split(":")[0]
    away = Dlock(d.program, f"{scheme}://user:secret@127.0.0.1:1/0")
    begun = time.monotonic()
    for words in (["a3", "--", "true"], ["-n", "a3", "--", "true"], ["status"], ["break", "a3"]):
        code, _, err = away.run(*words)
        expect(str(words), code, 125)
        expect("says something", err.startswith("dlock: ") and len(err) > 20, True)
        expect("no password", "secret" in err, False)
    expect("soon", time.monotonic() - begun < LONG, True)


# ---- who comes too late -------------------------------------------------------------------------


@case
def a_held_lock_is_busy_at_once_after_a_while_or_waited_for(d):
    holder = d.holder("b1")
    expect("-n", d.run("-n", "b1", "--", "true")[0], 1)
    expect("-E", d.run("-n", "-E", "75", "b1", "--", "true")[0], 75)
    begun = time.monotonic()
    expect("-w", d.run("-w", "0.5", "b1", "--", "true")[0], 1)
    expect("-w waits", time.monotonic() - begun >= 0.5, True)
    waiter = d.start("-v", "b1", "--", "echo", "got it")
    expect_in("-v says who holds it", "b1: held by ", waiter.stderr.readline())
    expect("waits", waiter.poll(), None)
    expect("the holder", stop(holder), 128 + signal.SIGTERM)
    expect("waited for", waiter.communicate(timeout=LONG)[0], "got it\n")
    expect("its code", waiter.returncode, 0)


@case
def a_signal_ends_who_waits(d):
    holder = d.holder("b2")
    waiter = d.start("-v", "b2", "--", "true")
    waiter.stderr.readline()
    expect("while it waits", stop(waiter, signal.SIGINT), 128 + signal.SIGINT)
    stop(holder)
    expect("nothing is left of it", free(d, "b2"), True)


@case
def a_dlock_within_one_that_holds_the_lock_says_that_it_waits_for_itself(d):
    inner = "\"$PROGRAM\" --store \"$STORE\" %s b5 -c true; echo $?"
    environment = d.environment(PROGRAM=d.program, STORE=d.url)  # a store with a password is not passed on
    code, out, err = d.run("b5", "-c", inner % "-w 0.2", env=environment)
    expect("-w", (code, out), (0, "1\n"))
    expect_in("said", "b5 is held by the dlock around this one", err)
    expect("-n", d.run("b5", "-c", inner % "-n", env=environment)[1:], ("1\n", ""))
    expect("another name", d.run("b6", "-c", inner % "-w 0", env=environment)[1:], ("0\n", ""))
    holder = d.holder("b5")
    expect("somebody else's", d.run("b6", "-c", inner % "-w 0.1", env=environment)[1:], ("1\n", ""))
    environment.update(DLOCK_NAME="b5", DLOCK_FENCING_TOKEN="1")  # of a dlock that has ended
    expect("an earlier one's", d.run("-w", "0.1", "b5", "-c", "true", env=environment)[1:], ("", ""))
    stop(holder)


@case
def odd_times_and_codes_are_taken_or_refused_in_words(d):
    for word in ("0", "-0", "1e9", "1e-9"):
        expect(f"-w {word}", d.run("-w", word, "a6", "--", "true")[::2], (0, ""))
    for word in ("1e300", "-1", "nan", "inf", "0x10", "", "1h1m", "9e9d"):
        code, _, err = d.run("-w", word, "a6", "--", "true")
        expect(f"-w {word}", code, 125)
        expect_in(f"-w {word}", f"'{word}' is no duration", err)
    for option, word, said in (
            ("--ttl", "0", "from 50ms"), ("--ttl", "1e9", "from 50ms"), ("--ttl", "nan", "duration"),
            ("--at-least", "-1", "duration"), ("-k", "nan", "duration"), ("-E", "256", "0 to 255"),
            ("-E", "-1", "0 to 255"), ("-E", "1.5", "0 to 255")):
        code, _, err = d.run(option, word, "a6", "--", "true")
        expect(f"{option} {word}", code, 125)
        expect_in(f"{option} {word}", said, err)
    holder = d.holder("a6")
    expect("-w 0", d.run("-w", "0", "a6", "--", "true")[0], 1)
    expect("-E 0", d.run("-n", "-E", "0", "a6", "--", "true")[0], 0)
    expect("wait -w 0", d.run("wait", "-w", "0", "a6")[0], 1)
    stop(holder)


@case
def a_command_may_close_all_it_has_and_get_all_that_fits(d):
    closes = "import os, time; os.closerange(0, 4096); time.sleep(0.2); os._exit(9)"
    expect("closes all", d.run("a7", "--", sys.executable, "-c", closes)[0], 9)
    daemon = "import os, time\nif os.fork(): os._exit(3)\nos.setsid(); os.closerange(0, 999); time.sleep(2)"
    expect("a daemon", d.run("a7", "--", sys.executable, "-c", daemon)[0], 3)
    expect("keeps no lock", free(d, "a7"), True)
    big = d.environment(**{f"BIG{i}": "x" * 120000 for i in range(8)})
    expect("960 kB of environment", int(d.run("a7", "-c", "env | wc -c", env=big)[1]) > 960000, True)
    code, _, err = d.run(*(f"a7{i:0500}" for i in range(300)), "-c", "true")
    expect("names that no environment takes", code, 126)
    expect_in("names that no environment takes", "Argument list too long", err)


@case
def a_lock_is_kept_for_as_long_as_the_command_runs(d):
    holder = d.holder("--ttl", str(LEASE), "b3", body="echo begun; read line", stdin=subprocess.PIPE)
    time.sleep(LEASE + 1)
    expect("is busy beyond its lease", d.run("-n", "b3", "--", "true")[0], 1)
    holder.communicate("\n", timeout=LONG)
    expect("its code", holder.returncode, 0)
    expect("free", d.run("-n", "b3", "--", "true")[0], 0)


@case
def what_the_command_leaves_behind_keeps_no_lock(d):
    code, out, _ = d.run("b4", "-c", "sleep 600 >/dev/null 2>&1 & echo $!")
    expect("code", code, 0)
    expect("free", free(d, "b4"), True)
    expect("it lives", alive(int(out)), True)
    os.kill(int(out), signal.SIGKILL)


# ---- the environment ----------------------------------------------------------------------------


@case
def the_command_knows_names_and_tokens_and_no_password(d):
    show = "printf '%s|%s|%s' \"$DLOCK_NAME\" \"$DLOCK_FENCING_TOKEN\" \"${DLOCK_STORE-none}\""
    first = d.run("c1", "-c", show)[1].split("|")
    second = d.run("c1", "-c", show)[1].split("|")
    expect("name", first[0], "c1")
    expect("the later token is greater", int(second[1]) > int(first[1]), True)
    several = d.run("c3", "c2", "c3", "-c", show)[1].split("|")
    expect("in the order of the names, each once", several[0], "c2\nc3")
    expect("a token each", len(several[1].split("\n")), 2)

    environment = d.environment(DLOCK_STORE="redis://user:secret@host/", OTHER="kept")
    code, out, _ = d.run("--store", d.url, "c1", "--", "env", env=environment)
    expect("code", code, 0)
    expect("no password", "secret" in out, False)
    expect_in("the rest is there", "OTHER=kept\n", out)
    environment["DLOCK_STORE"] = "redis://host/"
    expect_in(
        "without a password", "DLOCK_STORE=redis://host/\n",
        d.run("--store", d.url, "c1", "--", "env", env=environment)[1])


# ---- signals ------------------------------------------------------------------------------------


@case
def signals_go_to_all_of_the_command(d):
    for name in ("INT", "TERM", "HUP", "QUIT", "USR1", "USR2"):
        body = f"""trap 'echo outer; exit 40' {name}
            env --default-signal bash -c 'trap "echo inner; exit 0" {name}
                echo begun; while :; do sleep 0.05; done' &
            while :; do wait; sleep 0.05; done"""
        holder = d.start("d1", "--", "bash", "-c", body)
        expect("begun", holder.stdout.readline(), "begun\n")
        holder.send_signal(getattr(signal, "SIG" + name))
        heard = sorted(holder.stdout.readline() for _ in range(2))
        expect("both hear " + name, heard, ["inner\n", "outer\n"])
        expect("its code", holder.wait(LONG), 40)
    holder = d.holder("d1")
    holder.send_signal(signal.SIGHUP)
    expect("a signal that ends the command", holder.wait(LONG), 128 + signal.SIGHUP)


@case
def a_killed_dlock_takes_its_command_with_it(d):
    body = "sleep 601 & echo $!; trap '' TERM; echo $$; while :; do sleep 0.1; done"
    holder = d.start("--ttl", str(TTL), "-k", "0.5", "d2", "-c", body)
    pids = [int(holder.stdout.readline()) for _ in range(2)]
    holder.kill()
    holder.wait()
    until("the command and its child are gone", lambda: not any(map(alive, pids)))
    until("free after its lease", lambda: free(d, "d2"))


# ---- a lock that is lost ------------------------------------------------------------------------


@case
def a_broken_lock_ends_the_command_with_124(d):
    holder = d.holder("--ttl", str(LEASE), "e1", body="trap 'echo told; exit 3' TERM; echo begun; "
                      "while :; do sleep 0.05; done")
    code, out, _ = d.run("break", "e1")
    expect("break", code, 0)
    expect_in("says what", "broken: e1: held by ", out)
    expect_in("says who", f":{holder.pid}:dlock", out)
    out, err = holder.communicate(timeout=LONG)
    expect("the holder", holder.returncode, 124)
    expect("TERM first", out, "told\n")
    expect_in("says why", "the lock e1 is lost", err)
    expect("nobody", d.run("break", "e1")[:2], (1, "e1: nobody holds it\n"))


@case
def a_command_that_ends_before_dlock_hears_of_a_broken_lock_ends_with_124(d):
    holder = d.holder("--ttl", "600", "e5", body="echo begun; read line; echo done; exit 3",
                      stdin=subprocess.PIPE)
    expect("break", d.run("break", "-y", "e5")[0], 0)  # heard of at the next renewal: in 200 s
    expect("the command runs", holder.poll(), None)
    holder.stdin.write("\n")
    holder.stdin.flush()
    out, err = holder.communicate(timeout=LONG)
    expect("the holder", (holder.returncode, out), (124, "done\n"))
    expect_in("says why", "the lock e5 is not held any more: somebody has broken it", err)
    expect_in("says how the command ended", "ended with 3", err)


@case
def a_lock_that_somebody_else_took_meanwhile_is_his_and_the_code_is_124(d):
    first = d.holder("--ttl", "600", "e6", body="echo begun; read line", stdin=subprocess.PIPE)
    expect("break", d.run("break", "-y", "e6")[0], 0)
    second = d.holder("--ttl", "600", "e6")
    first.stdin.write("\n")
    first.stdin.flush()
    _, err = first.communicate(timeout=LONG)
    expect("the first one", first.returncode, 124)
    expect_in("says who has it", f"the lock e6 is held by {os.uname().nodename}:{second.pid}:dlock now", err)
    expect("the second one has it still", free(d, "e6"), False)
    stop(second)


@case
def a_command_that_does_not_hear_term_is_killed(d):
    holder = d.holder("--ttl", str(LEASE), "-k", "0.3", "e2", body="trap '' TERM; echo begun; "
                      "while :; do sleep 0.05; done")
    d.run("break", "-y", "e2")
    expect("the holder", holder.wait(LONG), 124)


def adopt_orphans():
    """As process 1 does, and as it stays over exec: orphans below this process become its children."""
    expect("prctl", ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0), 0)  # PR_SET_CHILD_SUBREAPER


@case
def what_has_ended_and_is_not_looked_after_keeps_no_dlock(d):
    body = "sleep 600 & echo begun; exec sleep 600"
    code = "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode)"
    careless = [sys.executable, "-c", code]
    for before in ([], careless):
        holder = d.holder("--ttl", str(LEASE), "-k", "0.3", "e7", body=body, before=before,
                          preexec_fn=adopt_orphans)
        d.run("break", "-y", "e7")
        expect("the holder", holder.wait(LONG), 124)


@case
def a_stopped_dlock_loses_the_lock_and_its_command_is_ended_in_time(d):
    holder = d.holder("--ttl", str(TTL), "-k", "0.3", "e3", body="trap '' TERM; echo begun; "
                      "while :; do sleep 0.05; done")
    children = subprocess.run(
        ["pgrep", "-P", str(holder.pid)], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    holder.send_signal(signal.SIGSTOP)
    code, out, _ = d.run("status", "e3")
    if code != 0:  # its lease runs, unless this took too long
        expect_in("seen while it is stopped", f":{holder.pid}:dlock", out)
    until("the command is ended by its guard", lambda: not any(alive(int(pid)) for pid in children))
    expect("the next one", d.run("e3", "--", "echo", "next")[:2], (0, "next\n"))
    holder.send_signal(signal.SIGCONT)
    expect("the former holder", holder.wait(LONG), 124)
    expect("it says so", "lost" in holder.stderr.read(), True)


@case
def a_change_between_look_and_break_is_refused(d):
    first = d.holder("e4")
    parent, child = pty.openpty()
    breaker = d.start("break", "e4", stdin=child)
    os.close(child)
    question = Reader(breaker.stderr.fileno()).until("Break it? ")
    expect_in("asks about the first", f":{first.pid}:", question)
    stop(first)
    second = d.holder("e4")
    os.write(parent, b"y\n")
    out, _ = breaker.communicate(timeout=LONG)
    expect("refused", breaker.returncode, 1)
    expect_in("says why", "somebody else holds it", out)
    expect("the second one goes on", second.poll(), None)
    breaker = d.start("break", "e4", stdin=subprocess.PIPE)  # nobody to be asked
    breaker.communicate(timeout=LONG)
    expect("broken", breaker.returncode, 0)
    expect("the second one", second.wait(LONG), 124)


# ---- at least, several names --------------------------------------------------------------------


@case
def a_lock_is_kept_for_as_long_as_at_least_says(d):
    begun = time.monotonic()
    holder = d.start("--at-least", "1.5", "f1", "-c", "echo done; exit 5")
    holder.stdout.readline()
    expect("busy behind its end", d.run("-n", "f1", "--", "true")[0] == 1 or
           time.monotonic() - begun > 1.5, True)
    expect("its code", holder.wait(LONG), 5)
    expect("so long", time.monotonic() - begun >= 1.5, True)
    expect("free", free(d, "f1"), True)
    holder = d.start("--at-least", "600", "f1", "-c", "echo done; exit 5")
    holder.stdout.readline()
    until("only dlock is left", lambda: subprocess.run(
        ["pgrep", "-P", str(holder.pid)], stdout=subprocess.DEVNULL, check=False).returncode != 0)
    expect("a signal ends that", stop(holder), 5)


@case
def several_names_are_taken_in_one_order(d):
    rounds = [d.start(*names, "-c", "sleep 0.05")
              for _ in range(4) for names in (["g1", "g2"], ["g2", "g1"])]
    for process in rounds:
        process.communicate(timeout=LONG)
        expect("each comes to an end", process.returncode, 0)
    holder = d.holder("g2")
    expect("one of them is held", d.run("-n", "g1", "g2", "--", "true")[0], 1)
    expect("the other one is given back", free(d, "g1"), True)
    stop(holder)


# ---- for people ---------------------------------------------------------------------------------


@case
def status_says_who_holds_what(d):
    expect("free", d.run("status", "h1")[:2], (0, "h1: free\n"))
    holder = d.holder("h1")
    host = os.uname().nodename
    code, out, _ = d.run("status", "h1")
    expect("held", code, 1)
    expect_in("who", f"h1: held by {host}:{holder.pid}:dlock for ", out)
    code, out, _ = d.run("status", "-l", "h1", "h2")
    expect("one of them", code, 1)
    expect_in("head", "NAME  HOLDER", out)
    expect_in("free ones, too", "h2    free", out)
    code, out, _ = d.run("status", "--json", "h1", "h2")
    first, second = json.loads(out)
    expect("name", first["name"], "h1")
    expect("holder", first["holder"], f"{host}:{holder.pid}:dlock")
    expect("numbers", [first["held_for"] >= 0, first["remaining"] > 0, first["token"] > 0], [True] * 3)
    expect("since", first["since"][:2], "20")
    expect("free", second, {"name": "h2", "held": False})
    expect_in("all", '"name":"h1"', d.run("status", "--json")[1])
    expect("not that old", d.run("status", "--older-than", "1h", "h1")[:2], (0, ""))
    until("older", lambda: d.run("status", "--older-than", "100ms", "h1")[0] == 1)
    watch = d.start("status", "--watch", "h1")
    for _ in range(2):
        expect_in("again and again", "h1: held by ", watch.stdout.readline())
    stop(watch, signal.SIGINT)
    stop(holder)
    odd = "a\x1b[2J\"\\\u00e4\u009b2J"
    holder = d.holder("-v", odd)
    code, out, _ = d.run("status", odd)
    expect("nothing moves the cursor", "\x1b" in out or "\u009b" in out, False)
    expect_in("nor what is taken", "took a?[2J\"\\\u00e4?2J\n", holder.stderr.readline())
    expect("any name", json.loads(d.run("status", "--json", odd)[1])[0]["name"], odd)
    stop(holder)


@case
def wait_ends_when_the_lock_is_free(d):
    expect("free", d.run("wait", "i1")[0], 0)
    holder = d.holder("--ttl", str(TTL), "i1")
    expect("-w", d.run("wait", "-w", "0.3", "-E", "9", "i1")[0], 9)
    waiter = d.start("wait", "i1")
    time.sleep(0.2)
    expect("waits", waiter.poll(), None)
    holder.kill()  # nobody says so: its lease must end
    waiter.communicate(timeout=LONG)
    expect("its code", waiter.returncode, 0)
    expect("it took nothing", free(d, "i1"), True)


# ---- at a terminal ------------------------------------------------------------------------------


class Reader:
    """What comes out of a descriptor, piece by piece."""

    def __init__(self, descriptor):
        self.descriptor = descriptor
        self.rest = ""

    def until(self, text):
        """Everything up to the next `text`."""
        end = time.monotonic() + LONG
        while text not in self.rest:
            ready, _, _ = select.select([self.descriptor], [], [], max(0, end - time.monotonic()))
            more = ""
            if ready:
                try:
                    more = os.read(self.descriptor, 4096).decode(errors="replace")
                except OSError:  # the other end of a terminal is closed
                    pass
            if not more:
                raise AssertionError(f"{text!r} did not come: {self.rest!r}")
            self.rest += more
        read, _, self.rest = self.rest.partition(text)
        return read + text


class Shell(Reader):
    """An interactive shell on a terminal of its own."""

    def __init__(self, d):
        terminal, other = pty.openpty()
        super().__init__(terminal)
        environment = d.environment(PS1="ready> ", TERM="dumb", HISTFILE="/dev/null", DLOCK=d.program)
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", "bash", "--norc", "--noprofile", "--noediting", "-i"],
            stdin=other, stdout=other, stderr=other, env=environment)
        os.close(other)
        self.until("ready> ")

    def press(self, keys):
        os.write(self.descriptor, keys)

    def say(self, line):
        self.press(line.encode() + b"\n")

    def end(self):
        self.say("exit")
        self.process.wait(LONG)
        os.close(self.descriptor)


@case
def keys_at_a_terminal_are_for_the_command(d):
    shell = Shell(d)
    # By exec: a shell that forks may lose a key that is pressed meanwhile.
    shell.say("$DLOCK j1 -c 'echo be''gun; exec sleep 600'; echo code=$?")
    shell.until("begun")
    shell.press(b"\x03")
    expect_in("^C", "code=130", shell.until("ready> "))
    shell.say("$DLOCK j1 -c 'read x; echo got=$x'; echo code=$?")
    until("it reads", lambda: not free(d, "j1"))
    shell.say("hello")
    shell.until("got=hello")
    expect_in("its code", "code=0", shell.until("ready> "))
    shell.say("$DLOCK --ttl 60 j1 -c 'echo be''gun; read x; echo got=$x'; echo code=$?")
    shell.until("begun")
    shell.press(b"\x1a")
    expect_in("^Z", "Stopped", shell.until("ready> "))
    expect("held meanwhile", free(d, "j1"), False)
    shell.say("fg")
    shell.until("$DLOCK --ttl")
    shell.say("again")
    shell.until("got=again")
    shell.until("ready> ")
    shell.say("echo | $DLOCK j1 -c 'cat; echo pi''ped' | cat; echo code=$?")
    shell.until("piped")
    expect_in("in a pipeline", "code=0", shell.until("ready> "))
    shell.end()
    expect("free", free(d, "j1"), True)


def main():
    program, url, *wanted = sys.argv[1:]
    d = Dlock(os.path.abspath(program), url_of_a_new_store(url))
    code, _, err = d.run("setup")
    expect("setup: " + err, code, 0)
    expect("again", d.run("setup")[0], 0)
    chosen = [function for function in CASES if not wanted or function.__name__ in wanted]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        run_all([functools.update_wrapper(functools.partial(f, d), f) for f in chosen], 6)


if __name__ == "__main__":
    main()
