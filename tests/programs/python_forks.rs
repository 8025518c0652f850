//! python3 that forks twenty children, all of which share its memory copy-on-write and write to a little of it.

use harness::{Job, User};

as_each_user!(carries_on);

/// Each child has four pages of its own in a block of 4 MiB; the rest must stay everybody's.
const SCRIPT: &str = r#"
import hashlib, os, time

CHILDREN, OWN = 20, 4 * 4096
block = bytearray(os.urandom(4 << 20))
whole = hashlib.sha256(block).hexdigest()
rest = hashlib.sha256(block[CHILDREN * OWN:]).hexdigest()
out, into = os.pipe()
for child in range(CHILDREN):
    if os.fork() == 0:
        os.close(out)
        own = hashlib.sha256(bytes([child])).digest() * (OWN // 32)
        place = slice(child * OWN, (child + 1) * OWN)
        block[place] = own
        words = f"child {child} " * 100
        os.write(into, b"?")
        while not os.path.exists("go"):
            time.sleep(0.02)
        well = block[place] == own and words == f"child {child} " * 100
        well = well and hashlib.sha256(block[CHILDREN * OWN:]).hexdigest() == rest
        os.write(into, b"+" if well else b"-")
        os._exit(child)
os.close(into)
with os.fdopen(out, "rb") as answers:
    assert answers.read(CHILDREN) == b"?" * CHILDREN
    print("ready", flush=True)
    assert answers.read() == b"+" * CHILDREN
assert hashlib.sha256(block).hexdigest() == whole
codes = sorted(os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(CHILDREN))
assert codes == list(range(CHILDREN)), codes
print("all 21 have what is theirs")
"#;

fn carries_on(user: User) {
    let mut job = Job::script(&["python3"], user, ("forks.py", SCRIPT), &[]);
    job.wait_for("ready");
    job.nap_often(3);
    job.make("go");
    assert_eq!(job.end(), "ready\nall 21 have what is theirs\n");
}
