//! python3 with multiprocessing: a pool, shared memory, semaphores and queues, by each way it has to start processes.

use harness::{Job, User};

as_each_user!(forked, spawned, served);

/// Processes count under a lock, a pool makes squares, a server answers through queues and a semaphore.
const SCRIPT: &str = r#"
import multiprocessing, os, sys, time
from multiprocessing import shared_memory

def square(number):
    time.sleep(0.002)
    return number * number

def add(lock, counter, name, times):
    block = shared_memory.SharedMemory(name=name)
    for _ in range(times):
        with lock:
            counter.value += 1
            block.buf[0] = (block.buf[0] + 1) % 256
        time.sleep(0.001)
    block.close()

def serve(inbox, outbox, gate):
    for number in iter(inbox.get, None):
        with gate:
            outbox.put(number + 1)

def main(method):
    context = multiprocessing.get_context(method)
    block = shared_memory.SharedMemory(create=True, size=1 << 20)
    lock, gate, counter = context.Lock(), context.Semaphore(2), context.Value("l", 0, lock=False)
    inbox, outbox = context.Queue(), context.Queue()
    adders = [context.Process(target=add, args=(lock, counter, block.name, 300)) for _ in range(3)]
    server = context.Process(target=serve, args=(inbox, outbox, gate))
    for process in adders + [server]:
        process.start()
    with context.Pool(3) as pool:
        squares = pool.map_async(square, range(300), chunksize=5)
        print("ready", flush=True)
        for number in range(300):
            inbox.put(number)
            time.sleep(0.001)
        answers = [outbox.get() for _ in range(300)]
        assert squares.get() == [number * number for number in range(300)]
        while not os.path.exists("go"):
            time.sleep(0.01)
    inbox.put(None)
    for process in adders + [server]:
        process.join()
        assert process.exitcode == 0, process
    assert answers == list(range(1, 301)), answers
    assert counter.value == 900 and block.buf[0] == 900 % 256, (counter.value, block.buf[0])
    block.close()
    block.unlink()
    print("nothing was lost or done twice", flush=True)

if __name__ == "__main__":
    main(sys.argv[1])
"#;

fn forked(user: User) {
    carries_on("fork", user);
}

fn spawned(user: User) {
    carries_on("spawn", user);
}

fn served(user: User) {
    carries_on("forkserver", user);
}

fn carries_on(method: &str, user: User) {
    let mut job = Job::script(&["python3"], user, ("processes.py", SCRIPT), &[method]);
    job.wait_for("ready");
    job.nap_often(3);
    job.make("go");
    assert_eq!(job.end(), "ready\nnothing was lost or done twice\n");
}
