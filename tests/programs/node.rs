//! node with timers, promises, a worker thread, a child process and reads of files.

use harness::{Job, User};

as_each_user!(carries_on);

/// A worker and a child add up what they are sent; files are read meanwhile, and a timer ticks.
const SCRIPT: &str = r"
const { Worker, isMainThread, parentPort } = require('worker_threads');
const { spawn } = require('child_process');
const { createHash } = require('crypto');
const fs = require('fs');

const sleep = (time) => new Promise((wake) => setTimeout(wake, time));
const mix = (x) => { for (let i = 0; i < 3000; i++) x = (x * 1103515245 + 12345) >>> 0; return x; };

function work() {
  let sum = 0;
  parentPort.on('message', (number) => {
    if (number < 0) { parentPort.postMessage(sum); parentPort.close(); }
    sum = (sum + mix(number)) >>> 0;
  });
}

async function read(times) {
  const seen = new Set();
  for (let i = 0; i < times; i++) {
    seen.add(createHash('sha256').update(await fs.promises.readFile('numbers')).digest('hex'));
    await sleep(8);
  }
  return seen.size;
}

async function main() {
  let ticks = 0, answer = '', expected = 0, total = 0;
  const timer = setInterval(() => ticks++, 5);
  const worker = new Worker(__filename);
  const summed = new Promise((done) => worker.on('message', done));
  const child = spawn('sh', ['-c', 'n=0; while read line; do n=$((n + line)); done; echo $n']);
  child.stdout.on('data', (data) => answer += data);
  const closed = new Promise((done) => child.on('close', done));
  fs.writeFileSync('numbers', Array.from({ length: 50000 }, (_, number) => number + '\n').join(''));
  const contents = read(50);
  console.log('ready');
  for (let number = 0; number < 300; number++) {
    worker.postMessage(number);
    child.stdin.write(number + '\n');
    expected = (expected + mix(number)) >>> 0;
    total += number;
    await sleep(2);
  }
  while (!fs.existsSync('go')) await sleep(10);
  child.stdin.end();
  worker.postMessage(-1);
  console.log(await summed === expected, await closed, +answer === total, await contents, ticks > 20);
  clearInterval(timer);
}

if (isMainThread) main(); else work();
";

fn carries_on(user: User) {
    let mut job = Job::script(&["node"], user, ("sums.js", SCRIPT), &[]);
    job.wait_for("ready");
    job.nap_often(3);
    job.make("go");
    assert_eq!(job.end(), "ready\ntrue 0 true 1 true\n");
}
