//! A process with a GiB of memory: Dormouse itself stays small.

use harness::{Job, User};

/// Memory that cannot be packed, private and shared.
const SCRIPT: &str = r#"
import mmap, os, time

SIZE = 1 << 20
block = os.urandom(SIZE)
private, shared = bytearray(block) * 700, mmap.mmap(-1, 324 * SIZE)
for start in range(0, len(shared), SIZE):
    shared[start:start + SIZE] = block
print("ready", flush=True)
while not os.path.exists("go"):
    time.sleep(0.02)
for memory in private, shared:
    assert all(memory[start:start + SIZE] == block for start in range(0, len(memory), SIZE))
print("every byte is there")
"#;

#[test]
fn takes_little_memory_of_dormouse() {
    let mut job = Job::script(&["python3"], User::Ordinary, ("large.py", SCRIPT), &[]);
    job.wait_for("ready");
    job.nap();
    assert!(job.peak() < 64 << 20, "Dormouse took {} KiB of memory", job.peak() >> 10);
    job.make("go");
    assert_eq!(job.end(), "ready\nevery byte is there\n");
}
