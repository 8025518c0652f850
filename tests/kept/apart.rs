//! Two groups at the two ends of a connection: each sleeps by itself, and both at a time.

use harness::wait::{PATIENCE, until};
use harness::{Job, User};

use crate::network::Network;
use crate::sleeps;
use crate::talk::ECHO;

/// It finishes at once, and then listens.
const LISTENS: &str = r#"
import os, socket
listener = socket.create_server(("127.0.0.1", 0))
open("port", "w").write("%d\n" % listener.getsockname()[1])
end, _ = listener.accept()
listener.close()
end.sendall(bytes(1000))
end.shutdown(socket.SHUT_WR)
print("ready", flush=True)
heard = b""
while piece := end.recv(65536):
    heard += piece
print("heard", len(heard), heard[1000:], flush=True)
"#;

#[test]
fn both_ends_sleep_apart_and_wake_in_any_order() {
    let _network = Network::new();
    for (sleeps_first, wakes_first) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let mut listens = Job::script(&["python3"], User::Ordinary, ("listens.py", LISTENS), &[]);
        let file = listens.specimen().folder().join("port");
        let port = until(PATIENCE, || {
            let text = std::fs::read_to_string(&file).ok()?;
            text.strip_suffix('\n').map(str::to_owned)
        });
        let port = port.unwrap_or_else(|| panic!("it does not listen"));
        let talks = Job::script(&["python3"], User::Root, ("echo.py", ECHO), &["wait", "127.0.0.1", &port]);
        listens.wait_for("ready");
        talks.wait_for("heard 1000");
        let mut both = [listens, talks];
        for place in [sleeps_first, 1 - sleeps_first] {
            sleeps(both[place].specimen());
        }
        for place in [wakes_first, 1 - wakes_first] {
            both[place].specimen().thaw().expect_success("thaw");
        }
        both[1].make("go");
        assert_eq!(both[1].end(), "ready\nheard 1000\ndone\n");
        assert_eq!(both[0].end(), "ready\nheard 1013 b'the last word'\n");
    }
}
