"""A workload that has its state in what Python has: threads, a generator, a dict, a deque, a growing integer.

It writes the lines that `evidence.rs` describes, and `!` with a reason when it finds itself changed.
"""

import os
import sys
import threading
import time
from collections import deque

MASK = (1 << 64) - 1


def step(state):
    return (state * 6364136223846793005 + 1442695040888963407) & MASK


def chain(state):
    while True:
        state = step(state)
        yield state


class Worker(threading.Thread):
    def __init__(self, seed):
        super().__init__(daemon=True)
        self.now = (0, seed)
        self.tid = 0

    def run(self):
        self.tid = threading.get_native_id()
        while True:
            count, state = self.now
            self.now = (count + 1, step(state))
            time.sleep(0.01)


def fibonacci(n):
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a


def main():
    nonce = int.from_bytes(os.urandom(8), "little")
    pid = os.getpid()
    log = open(sys.argv[1], "w", buffering=1)
    log.write(f"# {nonce}\n")
    workers = [Worker((nonce + 1 + i) & MASK) for i in range(2)]
    for worker in workers:
        worker.start()
    history = {}
    latest = deque(maxlen=5)
    a, b = 0, 1
    for seq, state in enumerate(chain(nonce), start=1):
        history[seq] = state
        latest.append(state)
        a, b = b, a + b
        if list(latest) != [history[i] for i in range(max(1, seq - 4), seq + 1)]:
            log.write("! the deque has changed\n")
        if seq % 16 == 0 and a != fibonacci(seq):
            log.write("! the big integer has changed\n")
        if os.getpid() != pid:
            log.write("! another pid\n")
        if not all(worker.is_alive() for worker in workers):
            log.write("! a thread is gone\n")
        threads = " ".join(f"{count} {state}" for count, state in (worker.now for worker in workers))
        log.write(f"{seq} {state} {sum(history.values()) & MASK} {threads}\n")
        time.sleep(0.1)


main()
