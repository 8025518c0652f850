//! What the configuration of the message bus allows, on a bus of the system's kind that has that configuration.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use harness::specimen::without_inheritance;
use zbus::blocking::{Connection, connection};

use crate::installed::{Installed, SERVICE, Said, done, run};

/// Nobody, in Debian.
const NOBODY: u32 = 65534;

/// A bus as strict as Debian's for the system: without a rule that allows it nobody owns a name or calls a method.
const STRICT: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <auth>EXTERNAL</auth>
  <listen>unix:path=SOCKET</listen>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  INCLUDED
</busconfig>
"#;

/// Something that answers.
struct Answering(&'static str);

#[zbus::interface(name = "io.github.dormouse.Dormouse1.Service")]
impl Answering {
    #[zbus(property)]
    fn version(&self) -> &'static str {
        self.0
    }
}

struct Bus {
    daemon: Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Bus {
    fn start(included: &str) -> Self {
        let folder = done(tempfile::tempdir());
        done(fs::set_permissions(folder.path(), Permissions::from_mode(0o755)));
        let socket = folder.path().join("bus").display().to_string();
        let configuration = folder.path().join("bus.conf");
        done(fs::write(&configuration, STRICT.replace("SOCKET", &socket).replace("INCLUDED", included)));
        let mut command = Command::new("dbus-daemon");
        command.arg(format!("--config-file={}", configuration.display()));
        command.args(["--nofork", "--nopidfile", "--nosyslog", "--print-address=1"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut daemon = done(without_inheritance(&mut command).spawn());
        // It says its address once it listens.
        let mut address = String::new();
        let said = daemon.stdout.take().unwrap_or_else(|| panic!("it has no output"));
        done(BufReader::new(said).read_line(&mut address));
        assert!(!address.is_empty(), "the bus does not start");
        done(fs::set_permissions(folder.path().join("bus"), Permissions::from_mode(0o777)));
        Self { daemon, address: address.trim().to_owned(), _folder: folder }
    }

    /// A bus with the configuration that is installed.
    fn with_ours() -> Self {
        let installed = Installed::new();
        let path = installed.share(&format!("dbus-1/system.d/{SERVICE}.conf"));
        Self::start(&format!("<include>{}</include>", path.display()))
    }

    fn root(&self) -> Connection {
        done(done(connection::Builder::address(&*self.address)).build())
    }

    /// A call by somebody who is nobody.
    fn nobody_calls(&self, destination: &str, method: &str, arguments: &[&str]) -> Said {
        let mut call = Command::new("gdbus");
        call.args(["call", "--system", "--dest", destination, "--object-path", "/", "--method", method]);
        call.args(arguments).env("DBUS_SYSTEM_BUS_ADDRESS", &self.address).uid(NOBODY).gid(NOBODY);
        run(&mut call)
    }

    fn nobody_asks_for_the_name(&self) -> Said {
        self.nobody_calls("org.freedesktop.DBus", "org.freedesktop.DBus.RequestName", &[SERVICE, "0"])
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = (self.daemon.kill(), self.daemon.wait());
    }
}

#[test]
fn only_root_can_be_the_service() {
    let bus = Bus::with_ours();
    let said = bus.nobody_asks_for_the_name();
    assert!(!said.succeeded && said.err.contains("AccessDenied"), "{said:?}");
    done(bus.root().request_name(SERVICE));
}

#[test]
fn everybody_may_ask_it() {
    let bus = Bus::with_ours();
    let service = done(done(connection::Builder::address(&*bus.address)).serve_at("/", Answering("1.2.3")));
    let _service = done(done(service.name(SERVICE)).build());
    let asked = [&format!("{SERVICE}.Service"), "Version"];
    let said = bus.nobody_calls(SERVICE, "org.freedesktop.DBus.Properties.Get", &asked).expect_success();
    assert_eq!(said.trim(), "(<'1.2.3'>,)");
}

#[test]
fn a_bus_without_the_configuration_allows_neither() {
    let bus = Bus::start("");
    assert!(bus.root().request_name(SERVICE).is_err(), "root became the service without a rule");
    let owner = bus.root();
    let unique = owner.unique_name().map(ToString::to_string).unwrap_or_default();
    let said = bus.nobody_calls(&unique, "org.freedesktop.DBus.Peer.Ping", &[]);
    assert!(!said.succeeded && said.err.contains("AccessDenied"), "{said:?}");
}
