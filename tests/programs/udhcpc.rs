//! `udhcpc`, a DHCP client that asks an interface without an answer and listens at it with a packet socket: it goes on asking.

use std::process::Command;

use harness::wait::{PATIENCE, until};
use harness::{Job, User};

/// A link on which nobody else speaks.
struct Link(String);

impl Link {
    fn new() -> Self {
        let link = Self(format!("dm{}", std::process::id()));
        let (own, peer) = (link.0.as_str(), format!("{}p", link.0));
        ip(&["link", "add", own, "type", "veth", "peer", "name", &peer]);
        ip(&["link", "set", own, "up"]);
        ip(&["link", "set", &peer, "up"]);
        link
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        ip(&["link", "delete", &self.0]);
    }
}

fn ip(words: &[&str]) {
    let done = Command::new("ip").args(words).status();
    assert!(done.is_ok_and(|status| status.success()), "ip {}", words.join(" "));
}

#[test]
fn goes_on_asking() {
    let link = Link::new();
    let mut job = Job::start("udhcpc", User::Root, |_| {
        let mut command = Command::new("bash");
        let client = format!("busybox udhcpc -i {} -f -t 10000 -T 1 -s /bin/true 2>&1", link.0);
        command.args(["-c", &format!("{client} & while [ ! -e go ]; do sleep 0.05; done; kill $!; wait")]);
        command
    });
    let asks_again = |job: &Job| {
        let asked = |said: String| said.matches("broadcasting discover\n").count();
        let before = asked(job.said());
        let again = until(PATIENCE, || (asked(job.said()) > before).then_some(()));
        assert!(again.is_some(), "it asks no more: {}", job.said());
    };
    asks_again(&job);
    for _ in 0..3 {
        job.nap();
        asks_again(&job);
    }
    job.make("go");
    job.end();
}
