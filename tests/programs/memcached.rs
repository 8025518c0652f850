//! memcached with its threads: what it knows is there after the thaw, and a client says the rest of what it was saying.

use harness::{Job, User};

as_each_user!(remembers);

/// The server and a client that stands in the middle of a value.
pub const SCRIPT: &str = r#"
import os, socket, subprocess, sys, time
port = int(sys.argv[1])
words = ["memcached", "-l", "127.0.0.1", "-p", str(port), "-t", "4"]
server = subprocess.Popen(words + (["-u", "root"] if os.getuid() == 0 else []))
def client():
    for _ in range(200):
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise SystemExit("memcached does not listen")
first = client()
reader = first.makefile("rb")
for number in range(10_000):
    value = b"value %d" % number
    first.sendall(b"set key%d 0 0 %d\r\n%s\r\n" % (number, len(value), value))
    assert reader.readline() == b"STORED\r\n"
second = client()
half = second.makefile("rb")
second.sendall(b"set long 0 0 100000\r\n" + b"x" * 50_000)
print("ready", flush=True)
while not os.path.exists("go"):
    first.sendall(b"incr none 1\r\n")
    assert reader.readline() == b"NOT_FOUND\r\n"
    time.sleep(0.01)
second.sendall(b"x" * 50_000 + b"\r\n")
assert half.readline() == b"STORED\r\n"
def get(name):
    first.sendall(b"get %s\r\n" % name)
    size = int(reader.readline().split()[3])
    value = reader.read(size)
    assert reader.readline() + reader.readline() == b"\r\nEND\r\n"
    return value
for number in range(10_000):
    assert get(b"key%d" % number) == b"value %d" % number
print(len(get(b"long")), flush=True)
server.terminate()
server.wait()
"#;

fn remembers(user: User) {
    let mut job = Job::script(&["python3", "-ISB"], user, ("client.py", SCRIPT), &[&super::free_port()]);
    job.wait_for("ready");
    job.nap_often(3);
    job.make("go");
    assert_eq!(job.end(), "ready\n100000\n");
}
