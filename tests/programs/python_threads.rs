//! python3 with threads: locks, condition variables, queues and sleeping threads.

use harness::{Job, User};

as_each_user!(carries_on);

/// Producers hand numbers to consumers; each number must arrive once, whatever stands between.
const SCRIPT: &str = r#"
import os, queue, sys, threading, time

WORKERS, NUMBERS = 6, 400
work = queue.Queue(maxsize=7)
done, lock, changed = [], threading.Lock(), threading.Condition()
ticks, turn = [0], [0]
gate = threading.Barrier(WORKERS + 1)
local = threading.local()
stop = threading.Event()

def produce(first):
    for number in range(first, NUMBERS, 2):
        work.put(number)
        time.sleep(0.001)

def consume(own):
    local.own = own
    gate.wait()
    while (number := work.get()) is not None:
        with lock:
            done.append(number)
        assert local.own == own

def take_turns(own):
    for _ in range(150):
        with changed:
            changed.wait_for(lambda: turn[0] % 2 == own)
            turn[0] += 1
            changed.notify_all()
        time.sleep(0.002)

def tick():
    while not stop.wait(timeout=0.01):
        ticks[0] += 1

consumers = [threading.Thread(target=consume, args=(own,)) for own in range(WORKERS)]
others = [threading.Thread(target=produce, args=(first,)) for first in (0, 1)]
others += [threading.Thread(target=take_turns, args=(own,)) for own in (0, 1)]
ticker = threading.Thread(target=tick)
for thread in consumers:
    thread.start()
gate.wait()
for thread in others + [ticker]:
    thread.start()
print("ready", flush=True)
for thread in others:
    thread.join()
while not os.path.exists("go"):
    time.sleep(0.01)
for _ in consumers:
    work.put(None)
for thread in consumers:
    thread.join()
stop.set()
ticker.join()
assert sorted(done) == list(range(NUMBERS)), "numbers were lost, or came twice"
assert turn[0] == 300, turn
assert ticks[0] > 5, ticks
print("every number arrived once")
"#;

fn carries_on(user: User) {
    let mut job = Job::script(&["python3"], user, ("threads.py", SCRIPT), &[]);
    job.wait_for("ready");
    job.nap_often(3);
    job.make("go");
    assert_eq!(job.end(), "ready\nevery number arrived once\n");
}
