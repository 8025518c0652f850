//! ssh to an sshd of one's own, with a terminal at the far end: who has logged in stays logged in.

use harness::{Job, User};

/// The server, the client, and the shell at the other end of the line, in one group.
pub const SCRIPT: &str = r#"
port=$1
ssh-keygen -q -t ed25519 -N '' -f host
ssh-keygen -q -t ed25519 -N '' -f key
cp key.pub authorized
chmod 600 authorized
cat > sshd_config <<END
Port $port
ListenAddress 127.0.0.1
HostKey $PWD/host
AuthorizedKeysFile $PWD/authorized
StrictModes no
UsePAM no
PidFile none
PermitRootLogin yes
END
mkdir -p /run/sshd
/usr/sbin/sshd -D -f sshd_config -E $PWD/sshd.log &
server=$!
mkfifo commands
until ssh-keyscan -p $port 127.0.0.1 2> /dev/null | grep -q ed25519; do sleep 0.1; done
ssh -tt -F none -i key -p $port -o StrictHostKeyChecking=no -o UserKnownHostsFile=known -o LogLevel=ERROR 127.0.0.1 \
    'stty -echo; while read -r line; do echo "heard $line on $(tty | cut -c-9)"; done' < commands > answers &
client=$!
exec 7> commands
say() { echo "$1" >&7; until grep -q "heard $1 on /dev/pts/" answers; do sleep 0.02; done; }
sleep 0.2
say before
echo ready
n=0
until test -e go; do n=$((n + 1)); say "word$n."; done
say after
exec 7>&-
kill $client
wait $client
kill $server
wait $server
tail -n 1 answers | tr -d '\r'
"#;

// Somebody has to be known by name to log in, as root is everywhere.
#[test]
fn stays_logged_in() {
    let mut job = Job::script(&["bash"], User::Root, ("login.sh", SCRIPT), &[&super::free_port()]);
    job.wait_for("ready");
    job.nap_often(3);
    job.make("go");
    assert_eq!(job.end(), "ready\nheard after on /dev/pts/\n");
}
