//! nginx with two workers: a client in the middle of a download, one whose connection is kept alive, and one that comes later.

use harness::{Job, User};

as_each_user!(serves_on);

/// The server and its clients, in one group.
pub const SCRIPT: &str = r#"
import hashlib, http.client, os, subprocess, sys, time
port = int(sys.argv[1])
os.mkdir("www")
with open("www/large", "wb") as file:
    for number in range(400_000):
        file.write(b"line %d of a large file\n" % number)
with open("www/small", "w") as file:
    file.write("a small file\n")
wanted = hashlib.sha256(open("www/large", "rb").read()).hexdigest()
with open("nginx.conf", "w") as file:
    file.write("""daemon off; worker_processes 2; pid nginx.pid; user %s;
events { worker_connections 64; }
http {
    access_log access.log;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    server { listen 127.0.0.1:%d; root www; }
}""" % ("root" if os.getuid() == 0 else "nobody", port))
server = subprocess.Popen(["/usr/sbin/nginx", "-p", os.getcwd(), "-c", "nginx.conf", "-e", "error.log"], stderr=subprocess.DEVNULL)
def client():
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for _ in range(200):
        try:
            connection.connect()
            return connection
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise SystemExit("nginx does not listen")
def small(connection):
    connection.request("GET", "/small")
    assert connection.getresponse().read() == b"a small file\n"
kept = client()
small(kept)
slow = client()
slow.request("GET", "/large")
answer = slow.getresponse()
digest = hashlib.sha256(answer.read(100_000))
print("ready", flush=True)
while not os.path.exists("go"):
    # Slow enough to be in the middle for as long as it is looked at.
    digest.update(answer.read(1000))
    time.sleep(0.01)
digest.update(answer.read())
assert digest.hexdigest() == wanted, "the download is another one"
for _ in range(20):
    small(kept)
for _ in range(20):
    small(client())
server.terminate()
assert server.wait() == 0
print("served", open("access.log").read().count(" 200 "), flush=True)
"#;

fn serves_on(user: User) {
    let mut job = Job::script(&["python3", "-ISB"], user, ("clients.py", SCRIPT), &[&super::free_port()]);
    job.wait_for("ready");
    job.nap_often(3);
    job.make("go");
    assert_eq!(job.end(), "ready\nserved 42\n");
}
