//! Browsers with a page at work: a dozen processes, hundreds of threads, and what the page knows. Firefox has its sandbox of system
//! calls on, and both have theirs of namespaces where root thaws them: users, pids, networks, IPC, some within others.

use harness::{Job, User};

as_each_user!(a_page_in_firefox_goes_on, a_page_in_chromium_goes_on);

#[test]
fn a_page_in_firefox_with_its_sandbox_goes_on() {
    goes_on(User::Ordinary, "sandboxed-firefox", true);
}

#[test]
fn a_page_in_chromium_with_its_sandbox_goes_on() {
    goes_on(User::Ordinary, "sandboxed-chromium", true);
}

/// The browser, and the server that its page tells how far it has counted. Without what it does at home: report, update, look
/// for the bus of a session.
const SCRIPT: &str = r#"
import http.server, os, socketserver, subprocess, sys, threading, time
PAGE = b"""<!DOCTYPE html><title>counts</title><canvas id=c width=64 height=64></canvas><script>
const secret = Math.random();
const worker = new Worker(URL.createObjectURL(new Blob(["let n = 0; setInterval(() => postMessage(++n), 50)"])));
let told = Promise.resolve();
worker.onmessage = event => {
    document.getElementById("c").getContext("2d").fillRect(event.data % 64, 0, 1, 1);
    told = told.then(() => fetch("/tick/" + event.data + "/" + secret));
};
</script>"""
ticks = []
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path.startswith("/tick/"):
            ticks.append(self.path.split("/")[2:])
        body = PAGE if self.path == "/" else b""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
server = Server(("127.0.0.1", int(sys.argv[1])), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.mkdir("profile")
with open("profile/user.js", "w") as file:
    for name, value in {
        "app.normandy.enabled": "false", "app.update.enabled": "false", "browser.aboutwelcome.enabled": "false",
        "browser.shell.checkDefaultBrowser": "false", "datareporting.policy.dataSubmissionEnabled": "false",
        "extensions.systemAddon.update.enabled": "false", "network.captive-portal-service.enabled": "false",
        "network.connectivity-service.enabled": "false", "services.settings.server": '"http://127.0.0.1:9/"',
        "toolkit.telemetry.enabled": "false", "browser.safebrowsing.downloads.remote.enabled": "false",
        "network.proxy.type": "0", "browser.search.update": "false", "media.gmp-manager.updateEnabled": "false",
    }.items():
        file.write('user_pref("%s", %s);\n' % (name, value))
environment = {"PATH": "/usr/bin:/bin", "HOME": os.getcwd(), "XDG_RUNTIME_DIR": os.getcwd(), "MOZ_ASSUME_USER_NS": "0",
               "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent", "MOZ_CRASHREPORTER_DISABLE": "1",
               "DORMOUSE_TEST_FOLDER": os.environ["DORMOUSE_TEST_FOLDER"]}
chromium = ["chromium", "--headless=new", "--disable-gpu", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--no-first-run", "--user-data-dir=profile"]
which, sandboxed = sys.argv[2].split("-")[-1], sys.argv[2].startswith("sandboxed-")
if sandboxed:
    del environment["MOZ_ASSUME_USER_NS"]
words = {
    "firefox": ["firefox-esr", "--headless", "--no-remote", "--profile", "profile"],
    "chromium": chromium + ([] if sandboxed else ["--no-sandbox"]),
}[which]
browser = subprocess.Popen(words + ["http://127.0.0.1:" + sys.argv[1]], env=environment, stdout=open("browser.log", "w"), stderr=subprocess.STDOUT)
def until(count):
    while len(ticks) < count:
        assert browser.poll() is None, "the browser has ended:\n" + open("browser.log").read()
        time.sleep(0.02)
until(10)
print("ready", flush=True)
while not os.path.exists("go"):
    time.sleep(0.01)
until(len(ticks) + 50)
browser.terminate()
browser.wait()
numbers, secrets = [int(number) for number, _ in ticks], {secret for _, secret in ticks}
assert numbers == list(range(1, len(numbers) + 1)), "the page has not gone on where it was: %r" % numbers
assert len(secrets) == 1, "the page has begun anew"
print("counted on", flush=True)
"#;

fn a_page_in_firefox_goes_on(user: User) {
    goes_on(user, "firefox", false);
}

fn a_page_in_chromium_goes_on(user: User) {
    goes_on(user, "chromium", false);
}

/// `insists`: it is not to come back in a pid namespace.
fn goes_on(user: User, browser: &str, insists: bool) {
    let mut job = Job::script(&["python3", "-ISB"], user, ("browse.py", SCRIPT), &[&super::free_port(), browser]);
    if insists {
        job = job.by_its_numbers();
    }
    job.wait_for("ready");
    job.nap_often(3);
    job.make("go");
    assert_eq!(job.end(), "ready\ncounted on\n");
}
