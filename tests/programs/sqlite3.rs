//! sqlite3 inside a transaction: its rows and its locks are there after the thaw, and others see the rows only when it
//! has committed.

use harness::{Job, User};

as_each_user!(commits_after_the_thaw);

/// The shell holds the FIFO that sqlite3 reads its commands from, and looks in from outside with other connections.
const SCRIPT: &str = r#"
mkfifo commands
sqlite3 dreams.db < commands > answers &
exec 5> commands
cat >&5 <<SQL
CREATE TABLE dreams(number INTEGER PRIMARY KEY, text TEXT);
INSERT INTO dreams VALUES(0, 'before');
BEGIN IMMEDIATE;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
    INSERT INTO dreams SELECT i, 'dream ' || i FROM n;
SELECT 'inserted';
SQL
until grep -q inserted answers; do sleep 0.02; done
echo ready
until test -e go; do sleep 0.02; done
echo "others see $(sqlite3 dreams.db 'SELECT count(*) FROM dreams') row"
sqlite3 dreams.db "INSERT INTO dreams VALUES(99999, 'intruder')" 2>/dev/null || echo "nobody else can write"
echo "COMMIT;" >&5
exec 5>&-
wait $!
echo "then they see $(sqlite3 dreams.db 'SELECT count(*) FROM dreams') rows"
sqlite3 dreams.db 'PRAGMA integrity_check'
"#;

fn commits_after_the_thaw(user: User) {
    let mut job = Job::script(&["bash"], user, ("transaction.sh", SCRIPT), &[]);
    job.wait_for("ready");
    job.nap_often(2);
    job.make("go");
    let wanted = "ready\nothers see 1 row\nnobody else can write\nthen they see 20001 rows\nok\n";
    assert_eq!(job.end(), wanted);
}
