// SPDX-License-Identifier: BSL-1.0

// BullMQ, pg-boss and graphile-worker, as contestants of benchmark_pipeline_redis_postgres.
//
// usage: rivals.mjs DIRECTORY --check CONTESTANT
//        rivals.mjs DIRECTORY CONTESTANT ADDRESS RUN WORK COUNT
//
// DIRECTORY has the node_modules. See contestants.hpp for what is printed.

import { createRequire } from "node:module";
import { resolve } from "node:path";

const [directory, contestant, address, run, work, countText] = process.argv.slice(2);
const require = createRequire(resolve(directory, "package.json"));
const modules = { bullmq: "bullmq", pgboss: "pg-boss", graphile: "graphile-worker" };
if (contestant === "--check") {
  require(modules[address]);
  process.exit(0);
}
const count = Number(countText);
const text = "x".repeat(200);
const now = () => performance.now() / 1000;
const wall = () => performance.timeOrigin + performance.now();
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const say = (line) => process.stdout.write(line + "\n");
const batch = (first) => Array.from({ length: Math.min(500, count - first) }, (_, j) => ({ i: first + j, text }));

/** Calls f(i) for each i below n, by so many callers. */
async function callers(n, f) {
  let next = 0;
  const one = async () => {
    while (next < n) await f(next++);
  };
  await Promise.all(Array.from({ length: 16 }, one));
}

/** Handles `jobs` jobs by the loop that `begin(handled)` starts, and ends it; the seconds. */
async function until(jobs, begin) {
  let done = 0;
  let all;
  const finished = new Promise((r) => (all = r));
  const start = now();
  const end = await begin((n) => {
    if ((done += n) >= jobs) all(now());
  });
  const seconds = (await finished) - start;
  await end();
  return seconds;
}

// ---- what each of them does: its queue, and the effects in the same store

async function bullmq() {
  const { Queue, Worker } = require("bullmq");
  const Redis = require("ioredis");
  const connection = { path: address, maxRetriesPerRequest: null };
  const redis = new Redis(connection);
  const queue = new Queue(`q${run}`, { connection });
  return {
    put: (data) => queue.add("job", data),
    fill: (all) => queue.addBulk(all.map((data) => ({ name: "job", data }))),
    handle: async (handler) => {
      const worker = new Worker(`q${run}`, (job) => handler([job.data]), { connection, concurrency: 50 });
      await worker.waitUntilReady();
      return () => worker.close();
    },
    effect: ([data]) => redis.hincrby(`effect${run}`, data.i, 1),
    effects: async () => (await redis.hvals(`effect${run}`)).map(Number),
  };
}

async function effectTable() {
  const { Pool } = require("pg");
  const pool = new Pool({ connectionString: address, max: 8 });
  const table = `effect_${contestant}_${run}`;
  // Several processes of one run may make it at once.
  await pool.query(`CREATE TABLE IF NOT EXISTS ${table} (job int PRIMARY KEY, count int)`).catch(() => {});
  return {
    effect: (all) =>
      pool.query(
        `INSERT INTO ${table} SELECT unnest($1::int[]), 1 ON CONFLICT (job) DO UPDATE SET count = ${table}.count + 1`,
        [all.map((data) => data.i)],
      ),
    effects: async () => (await pool.query(`SELECT count FROM ${table}`)).rows.map((row) => row.count),
  };
}

async function pgboss() {
  const Boss = require("pg-boss");
  const boss = new (Boss.PgBoss ?? Boss)({ connectionString: address, max: 16 });
  boss.on("error", (e) => process.stderr.write(`${e.message}\n`));
  await boss.start();
  const name = `q${run}`;
  await boss.createQueue(name).catch(() => {});
  return {
    ...(await effectTable()),
    put: (data) => boss.send(name, data),
    fill: (all) => boss.insert(all.map((data) => ({ name, data }))),
    // Its `work` takes one job in two seconds; batches that are fetched and completed are the best of it.
    handle: async (handler) => {
      let ended = false;
      const loop = async () => {
        while (!ended) {
          const jobs = await boss.fetch(name, { batchSize: 100 });
          if (!jobs || jobs.length === 0) {
            await sleep(5);
            continue;
          }
          await handler(jobs.map((job) => job.data));
          await boss.complete(name, jobs.map((job) => job.id));
        }
      };
      const loops = [1, 2, 3, 4].map(loop);
      return async () => {
        ended = true;
        await Promise.all(loops);
      };
    },
  };
}

async function graphile() {
  const { run: start, makeWorkerUtils, Logger } = require("graphile-worker");
  const logger = new Logger(() => () => {});
  const utils = await makeWorkerUtils({ connectionString: address, maxPoolSize: 16, logger });
  await utils.migrate();
  const task = `job${run}`;
  const batches = { localQueue: { size: 500 }, completeJobBatchDelay: 10, failJobBatchDelay: 10 };
  return {
    ...(await effectTable()),
    put: (data) => utils.addJob(task, data),
    fill: (all) => utils.addJobs(all.map((payload) => ({ identifier: task, payload }))),
    handle: async (handler) => {
      const runner = await start({
        connectionString: address,
        logger,
        noHandleSignals: true,
        concurrency: 16,
        maxPoolSize: 16,
        taskList: { [task]: (data) => handler([data]) },
        // Made for many jobs, and slow with few.
        ...(work === "late" ? {} : { preset: { worker: batches } }),
      });
      return () => runner.stop();
    },
  };
}

const it = await { bullmq, pgboss, graphile }[contestant]();
const figure = (value) => say(`figure ${value}`);
const fill = async () => {
  for (let first = 0; first < count; first += 500) await it.fill(batch(first));
};
const works = {
  put: async () => {
    const start = now();
    await callers(count, (i) => it.put({ i, text }));
    figure(count / (now() - start));
  },
  fill,
  work: async () => {
    const begin = (handled) =>
      it.handle(async (all) => {
        await it.effect(all);
        handled(all.length);
      });
    figure(count / (await until(count, begin)));
  },
  late: async () => {
    const times = [];
    await until(count, async (handled) => {
      const end = await it.handle(async (all) => {
        for (const data of all) times.push(wall() - data.at);
        await it.effect(all);
        handled(all.length);
      });
      for (let i = 0; i < count; i++) {
        await sleep(10);
        await it.put({ i, at: wall() });
      }
      return end;
    });
    times.sort((a, b) => a - b);
    figure(times[Math.floor(times.length / 2)]);
  },
  worker: async () => {
    let done = 0;
    await it.handle(async (all) => {
      await it.effect(all);
      const before = Math.floor(done / 50);
      done += all.length;
      for (let i = before; i < Math.floor(done / 50); i++) say("done");
    });
    await new Promise(() => {});
  },
  effects: async () => {
    const counts = await it.effects();
    say(`effects ${counts.length} ${counts.filter((c) => c > 1).length}`);
  },
};
await works[work]();
process.stdout.write("", () => process.exit(0));
