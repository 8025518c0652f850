//! gdb with the program that it looks into: neither can be frozen while the one holds the other, which is said before anything is
//! touched; and when it has let go of it, both can.

use harness::{Job, User, command};

as_each_user!(is_told_of_and_goes_on);

/// A program that counts, and gdb, which holds it until it is told to let go.
const SCRIPT: &str = r#"
import os, subprocess, time
counter = subprocess.Popen(["sh", "-c", "while test ! -e end; do sleep 0.02; done; echo counted"])
gdb = subprocess.Popen(["gdb", "-q", "-nx"], stdin=subprocess.PIPE, stdout=open("told", "w"), stderr=subprocess.STDOUT)
def tell(words, answer):
    gdb.stdin.write(words.encode() + b"\n")
    gdb.stdin.flush()
    while answer not in open("told").read():
        time.sleep(0.02)
tell("attach %d" % counter.pid, "Attaching to process")
tell("info registers rip", "rip  ")
print("holds", flush=True)
while not os.path.exists("let-go"):
    time.sleep(0.01)
tell("detach", "detached]")
print("has let go", flush=True)
while not os.path.exists("go"):
    time.sleep(0.01)
tell("print 6 * 7", "$1 = 42")
gdb.stdin.close()
assert gdb.wait() == 0
open("end", "w")
assert counter.wait() == 0
"#;

fn is_told_of_and_goes_on(user: User) {
    let mut job = Job::script(&["python3", "-ISB"], user, ("debug.py", SCRIPT), &[]);
    job.wait_for("holds");
    let (pid, image) = (job.specimen().pid().to_string(), job.specimen().image());
    let notes = job.specimen().folder();
    let outcome = command::run(&["freeze", &pid, "-o", &image.to_string_lossy()], &notes, || {});
    assert!(!outcome.status.success(), "it is frozen:\n{}", outcome.said);
    assert!(outcome.said.contains("traces it"), "{}", outcome.said);
    assert!(outcome.said.contains("Let the debugger go first"), "{}", outcome.said);
    assert!(!image.exists(), "there is an image");
    job.make("let-go");
    job.wait_for("has let go");
    job.nap_often(2);
    job.make("go");
    assert_eq!(job.end(), "holds\nhas let go\ncounted\n");
}
