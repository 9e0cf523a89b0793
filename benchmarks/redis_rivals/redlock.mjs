// SPDX-License-Identifier: BSL-1.0

// npm's redlock over ioredis, as contestants of benchmark_redis_rivals: tasks of one process on one connection.
//
// usage: redlock.mjs DIRECTORY --check
//        redlock.mjs DIRECTORY CONTESTANT SOCKET SECONDS RUN
//
// DIRECTORY has the node_modules. See contestants.hpp for the lines that are exchanged.

import { createRequire } from "node:module";
import { resolve } from "node:path";
import { createInterface } from "node:readline";

const [directory, contestant, socket, secondsText, run] = process.argv.slice(2);
const require = createRequire(resolve(directory, "package.json"));
const Redis = require("ioredis");
const Redlock = require("redlock").default;
if (contestant === "--check") process.exit(0);

const autoPipelining = contestant === "distinct_auto_pipelining";
const redis = new Redis({ path: socket, enableAutoPipelining: autoPipelining });
// Its own delay and jitter between attempts; as many attempts as it takes.
const redlock = new Redlock([redis], { retryCount: -1 });

/** `tasks` loops; key(i) is the key of one. Counts by task and by bin of 100 ms, and waits, within the time. */
async function loops(tasks, key, begin, seconds, withWaits) {
  const counts = new Array(tasks).fill(0);
  const bins = new Array(Math.ceil(seconds * 10)).fill(0);
  const waits = new Map();
  const end = begin + seconds * 1000;
  const now = () => performance.timeOrigin + performance.now();
  const one = async (i) => {
    const keys = [key(i)];
    for (;;) {
      const asked = withWaits ? now() : 0;
      const lock = await redlock.acquire(keys, 10000);
      if (withWaits) {
        const bucket = Math.floor(Math.log(Math.max(1, (now() - asked) * 1000)) * 20);
        if (now() < end) waits.set(bucket, (waits.get(bucket) ?? 0) + 1);
      }
      await lock.release();
      const at = now();
      if (at >= end) return;
      ++counts[i];
      ++bins[Math.floor((at - begin) / 100)];
    }
  };
  await Promise.all(counts.map((_, i) => one(i)));
  return { counts, bins, waits };
}

const contestants = {
  distinct: { tasks: 512, key: (r) => (i) => `redlock:${r}:${i}`, waits: false },
  distinct_auto_pipelining: { tasks: 512, key: (r) => (i) => `redlock:${r}:${i}`, waits: false },
  one_key: { tasks: 64, key: (r) => () => `redlock:${r}`, waits: false },
  processes: { tasks: 16, key: (r) => () => `redlock:${r}`, waits: true },
};
const chosen = contestants[contestant];
const seconds = Number(secondsText);
// Until it is compiled; on keys of its own.
await loops(chosen.tasks, chosen.key(`${run}:warm:${process.pid}`), Date.now(), Math.min(seconds, 0.5), chosen.waits);
process.stdout.write("ready\n");
const input = createInterface({ input: process.stdin });
const [line] = await new Promise((done) => input.once("line", (...words) => done(words)));
const begin = Number(line.split(" ")[1]) * 1000;
await new Promise((done) => setTimeout(done, Math.max(0, begin - Date.now())));
const before = process.cpuUsage();
const { counts, bins, waits } = await loops(chosen.tasks, chosen.key(run), begin, seconds, chosen.waits);
const used = process.cpuUsage(before);
const out = [`sections ${counts.reduce((a, b) => a + b, 0) / seconds}`, `waiters ${counts.join(" ")}`];
out.push(`bins ${bins.join(" ")}`, `cpu ${(used.user + used.system) / 1e6}`);
for (const [bucket, count] of waits) out.push(`wait ${Math.exp((bucket + 0.5) / 20) / 1e6} ${count}`);
process.stdout.write(out.join("\n") + "\n", () => process.exit(0));
