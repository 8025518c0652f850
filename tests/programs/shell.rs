//! bash with a large pipeline through compressors, and with find, xargs, background jobs and wait.

use harness::{Job, User};

as_each_user!(carries_on);

/// What comes out of compressors that were frozen half-way must be what went in.
const SCRIPT: &str = r#"
seq 1 400000 > numbers
for time in 1 2 3 4 5 6; do cat numbers; done > big
sha256sum < big > plain
echo ready
(gzip -6 < big | tee >(wc -c > length) | gzip -d | sha256sum > by-gzip) &
(xz -1 -T2 < big | xz -d | sha256sum > by-xz) &
mkdir -p tree/{a,b,c}/{1..30}
sleep 1 &
find tree -print0 | xargs -0 -n 3 -P 2 ls -d | sort > found &
wait
cmp plain by-gzip && cmp plain by-xz && echo "the same came through"
find tree | sort | cmp - <(grep -o 'tree.*' found) && echo "all names were found"
"#;

fn carries_on(user: User) {
    let mut job = Job::script(&["bash"], user, ("pipes.sh", SCRIPT), &[]);
    job.wait_for("ready");
    job.nap_often(3);
    assert_eq!(job.end(), "ready\nthe same came through\nall names were found\n");
}
