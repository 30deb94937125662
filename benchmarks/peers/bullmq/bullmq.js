// BullMQ: bulk calls of 1,000 jobs; one worker process. See benchmarks/peers for the protocol.
import { existsSync, renameSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Queue, Worker } from "bullmq";
import IORedis from "ioredis";

const BULK = 1000;
const [command, number, ready] = process.argv.slice(2);
const connection = new IORedis(process.env.BENCH_REDIS_URL, { maxRetriesPerRequest: null });
const now = () => process.hrtime.bigint().toString(); // CLOCK_MONOTONIC, as Python's monotonic_ns

async function submit(queue, count) {
  const begin = performance.now();
  for (let first = 0; first < count; first += BULK) {
    const size = Math.min(BULK, count - first);
    await queue.addBulk(Array.from({ length: size }, () => ({ name: "noop", data: { sent: "0" } })));
  }
  console.log((performance.now() - begin) / 1000);
}

async function ping(queue, count) {
  await queue.add("noop", { sent: now() });
  while (!existsSync(ready)) await sleep(10);
  for (let i = 0; i < count; i++) {
    await sleep(5 + Math.random() * 10);
    await queue.add("noop", { sent: now() });
  }
}

function work(concurrency) {
  const file = process.env.BENCH_TALLY;
  const expected = Number(process.env.BENCH_JOBS);
  const started = [];
  const sent = [];
  const worker = new Worker(
    "bench",
    async (job) => {
      started.push(now());
      sent.push(job.data.sent);
      if (started.length === 1) writeFileSync(file.replace(/json$/, "begun"), "");
      if (started.length === expected) {
        // By hand, as these integers are more than a JavaScript number holds.
        writeFileSync(`${file}.part`, `{"started_ns": [${started}], "sent_ns": [${sent}]}`);
        renameSync(`${file}.part`, file);
      }
    },
    { connection, concurrency },
  );
  worker.on("error", (error) => console.error(error));
}

if (command === "worker") {
  work(Number(number));
} else {
  const queue = new Queue("bench", { connection });
  await queue.waitUntilReady();
  await { submit, ping }[command](queue, Number(number));
  await queue.close();
  await connection.quit();
}
