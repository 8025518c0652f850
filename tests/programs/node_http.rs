//! node that serves HTTP, and asks itself and a child over connections that stay open (keep-alive).

use harness::{Job, User};

as_each_user!(carries_on);

/// A child serves and counts; each question goes over one connection that is kept.
const SCRIPT: &str = r"
const http = require('http');
const fs = require('fs');
const { fork } = require('child_process');
const sleep = (time) => new Promise((wake) => setTimeout(wake, time));

if (process.argv[2] === 'serve') {
  let questions = 0, connections = 0;
  const server = http.createServer((question, answer) => answer.end(`${++questions} ${connections}`));
  server.keepAliveTimeout = 0;
  server.on('connection', () => connections++);
  server.listen(0, '127.0.0.1', () => fs.writeFileSync('port', `${server.address().port}`));
  setInterval(() => { if (fs.existsSync('done')) process.exit(0); }, 50);
} else {
  (async () => {
    const child = fork(__filename, ['serve'], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    const closed = new Promise((end) => child.on('close', end));
    while (!fs.existsSync('port') || !fs.readFileSync('port').length) await sleep(10);
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const port = +fs.readFileSync('port');
    const ask = () => new Promise((done, failed) => {
      const question = http.get({ port, host: '127.0.0.1', agent }, (answer) => {
        let text = '';
        answer.on('data', (data) => text += data).on('end', () => done(text));
      });
      question.on('error', failed);
    });
    let asked = 0, last = '';
    const one = async () => { last = await ask(); asked++; };
    await one();
    console.log('ready');
    while (!fs.existsSync('go')) { await one(); await sleep(3); }
    for (let i = 0; i < 100; i++) await one();
    fs.writeFileSync('done', '');
    await closed;
    console.log(last === `${asked} 1` ? 'one connection' : `${asked} asked, ${last} answered`);
    process.exit(0);
  })();
}
";

fn carries_on(user: User) {
    let mut job = Job::script(&["node"], user, ("serve.js", SCRIPT), &[]);
    job.wait_for("ready");
    job.nap_often(3);
    job.make("go");
    assert_eq!(job.end(), "ready\none connection\n");
}
