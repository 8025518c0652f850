//! PostgreSQL with clients in open transactions: what they have done in them is there after the thaw and for nobody else, what
//! they have committed is for all, and the segment of System V that tells that the database is in use tells so still.

use std::fs;

use harness::{Job, User};

as_each_user!(goes_on_with_open_transactions);

/// The server and its clients, which read their commands from FIFOs, in one group. PostgreSQL does not run as root, which
/// takes another user for it.
pub const SCRIPT: &str = r#"
PATH=$1:$PATH
if test $(id -u) = 0; then
    chown -R 1000:1000 .
    exec setpriv --reuid 1000 --regid 1000 --clear-groups bash "$0" "$1"
fi
initdb -D data -A trust -N -U me > initdb.log 2>&1 || { cat initdb.log; exit 1; }
postgres -D data -k "$PWD" -c listen_addresses= -c autovacuum_naptime=1s > server.log 2>&1 &
server=$!
client() { psql -h "$PWD" -U me -d postgres --no-psqlrc -qAt "$@"; }
until pg_isready -q -h "$PWD"; do sleep 0.05; done
client -c 'CREATE TABLE dreams(number int)'
for n in 1 2 3; do
    mkfifo commands$n
    client < commands$n > answers$n 2>&1 &
    eval "exec 1$n> commands$n"
    eval "echo \"BEGIN; INSERT INTO dreams SELECT generate_series(1, ${n}000); SELECT 'inserted';\" >&1$n"
    until grep -q inserted answers$n; do sleep 0.02; done
done
echo ready
until test -e go; do sleep 0.02; done
echo "others see $(client -c 'SELECT count(*) FROM dreams')"
postgres -D data -k "$PWD" -c listen_addresses= 2>&1 | grep -o 'lock file "postmaster.pid" already exists'
echo "SELECT count(*) FROM dreams; ROLLBACK;" >&11
until test $(wc -l < answers1) = 2; do sleep 0.02; done
echo "COMMIT;" >&12
echo "COMMIT;" >&13
exec 11>&- 12>&- 13>&-
until test "$(client -c 'SELECT count(*) FROM dreams')" = 5000; do sleep 0.05; done
echo "the first saw $(tail -n 1 answers1), and then all see 5000"
kill -INT $server
wait
grep -c 'database system is shut down' server.log
"#;

/// The folder of the programs, whose version Debian has in its path.
pub fn programs() -> String {
    let versions =
        fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    let newest = versions.filter(|path| path.join("postgres").exists()).max();
    newest.unwrap_or_else(|| panic!("is the package postgresql installed?")).display().to_string()
}

fn goes_on_with_open_transactions(user: User) {
    let mut job = Job::script(&["bash"], user, ("clients.sh", SCRIPT), &[&programs()]);
    job.wait_for("ready");
    job.nap_often(3);
    job.make("go");
    let wanted = "ready\nothers see 0\nlock file \"postmaster.pid\" already exists\nthe first saw 1000, and then all see 5000\n1\n";
    assert_eq!(job.end(), wanted);
}
