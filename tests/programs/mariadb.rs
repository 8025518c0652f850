//! MariaDB with clients in open transactions.

use harness::{Job, User};

as_each_user!(goes_on_with_open_transactions);

/// The server and its clients, which read their commands from FIFOs, in one group. Its own asynchronous input and output goes
/// through io_uring, which cannot be kept, so it is told to use threads.
pub const SCRIPT: &str = r#"
PATH=$PATH:/usr/sbin
test "$(id -u)" = 0 && user=--user=root || user=
mariadb-install-db --no-defaults $user --datadir="$PWD/data" --auth-root-authentication-method=normal > install.log 2>&1 ||
    { cat install.log; exit 1; }
mariadbd --no-defaults $user --datadir="$PWD/data" --socket="$PWD/socket" --skip-networking --innodb-use-native-aio=0 \
    --pid-file="$PWD/pid" > server.log 2>&1 &
server=$!
client() { mariadb --no-defaults -u root -S "$PWD/socket" -N -n -B "$@"; }
until client -e 'SELECT 1' > /dev/null 2>&1; do sleep 0.1; done
client -e 'CREATE DATABASE sleep; CREATE TABLE sleep.dreams(number int) ENGINE=InnoDB'
for n in 1 2 3; do
    mkfifo commands$n
    client sleep < commands$n > answers$n 2>&1 &
    eval "exec 1$n> commands$n"
    eval "echo \"BEGIN; INSERT INTO dreams SELECT seq FROM seq_1_to_${n}000; SELECT 'inserted';\" >&1$n"
    until grep -q inserted answers$n; do sleep 0.02; done
done
echo ready
until test -e go; do sleep 0.02; done
echo "others see $(client sleep -e 'SELECT count(*) FROM dreams')"
echo "SELECT count(*) FROM dreams; ROLLBACK;" >&11
until test $(wc -l < answers1) = 2; do sleep 0.02; done
echo "COMMIT;" >&12
echo "COMMIT;" >&13
exec 11>&- 12>&- 13>&-
until test "$(client sleep -e 'SELECT count(*) FROM dreams')" = 5000; do sleep 0.05; done
echo "the first saw $(tail -n 1 answers1), and then all see 5000"
kill $server
wait
grep -c 'mariadbd: Shutdown complete' server.log
"#;

fn goes_on_with_open_transactions(user: User) {
    let mut job = Job::script(&["bash"], user, ("clients.sh", SCRIPT), &[]);
    job.wait_for("ready");
    job.nap_often(3);
    job.make("go");
    assert_eq!(job.end(), "ready\nothers see 0\nthe first saw 1000, and then all see 5000\n1\n");
}

/// As Debian starts it, it has rings of io_uring, which nobody can give back: it is refused by that name, and runs on.
#[test]
fn is_refused_with_what_it_does_by_itself() {
    let script = SCRIPT.replace("--innodb-use-native-aio=0", "--innodb-use-native-aio=1");
    let mut job = Job::script(&["bash"], User::Ordinary, ("clients.sh", &script), &[]);
    job.wait_for("ready");
    let pid = job.specimen().pid().to_string();
    let image = job.specimen().image().to_string_lossy().into_owned();
    for arguments in [&["check", &pid][..], &["freeze", &pid, "--accept-losses", "-o", &image]] {
        let outcome = harness::command::run(arguments, std::path::Path::new("/"), || ());
        assert!(!outcome.status.success() && outcome.said.contains("io_uring"), "{arguments:?}: {}", outcome.said);
    }
    assert!(!std::path::Path::new(&image).exists());
    job.make("go");
    assert_eq!(job.end(), "ready\nothers see 0\nthe first saw 1000, and then all see 5000\n1\n");
}
