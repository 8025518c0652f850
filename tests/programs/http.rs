//! `python3 -m http.server` in the middle of a slow download: with its client in the group, and with a client outside,
//! whose download ends or goes on.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use harness::wait::{PATIENCE, until};
use harness::{Job, User};

as_each_user!(carries_on, ends_for_a_client_outside, goes_on_for_a_client_outside);

/// The server, and a client that reads slowly what is larger than all buffers on the way.
const WITHIN: &str = r#"
import hashlib, http.client, os, socket, subprocess, sys, time, urllib.request
port = sys.argv[1]
content = b"".join(hashlib.sha256(str(number).encode()).digest() for number in range(1_000_000))
open("large", "wb").write(content)
log = open("log", "w")
server = subprocess.Popen([sys.executable, "-m", "http.server", port, "--bind", "127.0.0.1"], stdout=log, stderr=log)
while True:
    try:
        # Room for a little at a time: the rest stays with the server.
        end = socket.socket()
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 200_000)
        end.connect(("127.0.0.1", int(port)))
        client = http.client.HTTPConnection("127.0.0.1", int(port))
        client.sock = end
        client.request("GET", "/large")
        answer = client.getresponse()
        break
    except OSError:
        time.sleep(0.05)
found = hashlib.sha256(answer.read(100_000))
print("ready", flush=True)
while piece := answer.read(200_000):
    found.update(piece)
    time.sleep(0.02 if not os.path.exists("go") else 0)
    # The server is not to come to the end meanwhile, however long that takes.
    while answer.length < len(content) // 2 and not os.path.exists("go"):
        time.sleep(0.02)
print("the same:", found.digest() == hashlib.sha256(content).digest())
again = urllib.request.urlopen(f"http://127.0.0.1:{port}/large").read()
print("again:", again == content)
server.terminate()
server.wait()
"#;

fn carries_on(user: User) {
    let mut job = Job::script(&["python3"], user, ("within.py", WITHIN), &[&super::free_port()]);
    job.wait_for("ready");
    job.nap_often(3);
    job.make("go");
    assert_eq!(job.end(), "ready\nthe same: True\nagain: True\n");
}

/// A server that says how a download has ended.
const SERVER: &str = r#"
import http.server, os, sys
class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words): pass
    def do_GET(self):
        try:
            super().do_GET()
            print("done", flush=True)
        except ConnectionError as error:
            print(type(error).__name__, flush=True)
open("large", "wb").write(bytes(40_000_000))
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("ready", flush=True)
while not os.path.exists("go"):
    server.timeout = 0.05
    server.handle_request()
"#;

fn ends_for_a_client_outside(user: User) {
    let port = super::free_port();
    let mut job = Job::script(&["python3"], user, ("server.py", SERVER), &[&port]);
    job.wait_for("ready");
    let ask = || {
        let mut client = TcpStream::connect(("127.0.0.1", port.parse::<u16>().unwrap_or(0)))?;
        client.set_read_timeout(Some(Duration::from_secs(20)))?;
        client.write_all(b"GET /large HTTP/1.0\r\n\r\n")?;
        std::io::Result::Ok(client)
    };
    let mut client = ask().unwrap_or_else(|error| panic!("{error}"));
    let mut first = [0; 1000];
    client.read_exact(&mut first).unwrap_or_else(|error| panic!("{error}"));
    let specimen = job.specimen();
    let refused = specimen.freeze();
    let said = refused.said.split_whitespace().collect::<Vec<_>>().join(" ");
    let connection = format!(
        "it is a TCP connection from 127.0.0.1:{port} to {}",
        client.local_addr().map_or_else(|error| error.to_string(), |own| own.to_string())
    );
    assert!(!refused.status.success() && said.contains(&connection), "{said}");
    // The refused freeze has changed nothing.
    client.read_exact(&mut first).unwrap_or_else(|error| panic!("{error}"));
    let known = specimen.members();
    specimen.freeze_with(&["--accept-losses"]).expect_success("freeze");
    specimen.assert_asleep(&known);
    let mut rest = Vec::new();
    let end = client.read_to_end(&mut rest);
    assert!(rest.len() < 39_000_000, "the whole download came from nobody: {end:?}");
    specimen.thaw().expect_success("thaw");
    // The program finds that its connection has been reset, and goes on with the next one.
    let told = until(PATIENCE, || job.said().contains("ConnectionResetError").then_some(()));
    assert!(told.is_some(), "{}", job.said());
    let mut whole = Vec::new();
    let read = ask().and_then(|mut client| client.read_to_end(&mut whole));
    assert!(read.is_ok() && whole.len() > 40_000_000, "{read:?}: {}", whole.len());
    job.make("go");
    assert_eq!(job.end(), "ready\nConnectionResetError\ndone\n");
}

fn goes_on_for_a_client_outside(user: User) {
    let port = super::free_port();
    let mut job = Job::script(&["python3"], user, ("server.py", SERVER), &[&port]);
    job.wait_for("ready");
    let mut client =
        TcpStream::connect(("127.0.0.1", port.parse::<u16>().unwrap_or(0))).unwrap_or_else(|error| panic!("{error}"));
    client.set_read_timeout(Some(PATIENCE)).unwrap_or_else(|error| panic!("{error}"));
    client.write_all(b"GET /large HTTP/1.0\r\n\r\n").unwrap_or_else(|error| panic!("{error}"));
    let mut whole = vec![0; 100_000];
    client.read_exact(&mut whole).unwrap_or_else(|error| panic!("{error}"));
    for _ in 0..3 {
        let specimen = job.specimen();
        let known = specimen.members();
        specimen.freeze_with(&["--keep-connections"]).expect_success("freeze");
        specimen.assert_asleep(&known);
        // What has come already can be read meanwhile.
        let mut piece = vec![0; 500_000];
        client.set_nonblocking(true).unwrap_or_else(|error| panic!("{error}"));
        match client.read(&mut piece) {
            Ok(length) => whole.extend(&piece[..length]),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}"),
        }
        client.set_nonblocking(false).unwrap_or_else(|error| panic!("{error}"));
        specimen.thaw().expect_success("thaw");
        std::fs::remove_file(specimen.image()).unwrap_or_else(|error| panic!("{error}"));
        // And more than could have waited comes when it is awake.
        let mut more = vec![0; 8_000_000];
        client.read_exact(&mut more).unwrap_or_else(|error| panic!("{error}"));
        whole.extend(more);
    }
    let read = client.read_to_end(&mut whole);
    let begin = whole.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |place| place + 4);
    assert!(read.is_ok() && whole.len() - begin == 40_000_000, "{read:?}: {}", whole.len());
    job.make("go");
    assert_eq!(job.end(), "ready\ndone\n");
}
