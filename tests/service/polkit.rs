//! The real polkit with our own policy: without a rule Anna would have to authenticate, for she sits in no session here; with a
//! rule of the administrator's she may.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use harness::User;
use harness::wait::{PATIENCE, until};
use nix::mount::{MsFlags, mount};

use crate::client::Call;
use crate::machine::{ANNA, BEN, Machine, Running, done};
use crate::sleep::{asleep, awake, started};

const ACTIONS: &str = "/usr/share/polkit-1/actions";
const RULES: &str = "/etc/polkit-1/rules.d";
const RULE: &str = r#"polkit.addRule(function(action, subject) {
    if (action.id == "io.github.dormouse.Dormouse1.own" && subject.user == "anna") return polkit.Result.YES;
});
"#;

/// polkit on the machine's bus, which knows our actions and no rules but those in the folder that is answered.
fn polkit(machine: &Machine, folder: &Path) -> Running {
    let none: Option<&str> = None;
    let [upper, work, rules] = ["upper", "work", "rules"].map(|name| folder.join(name));
    for made in [&upper, &work, &rules] {
        done(fs::create_dir(made));
        done(fs::set_permissions(made, Permissions::from_mode(0o755)));
    }
    let policy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/io.github.dormouse.Dormouse1.policy.in");
    done(fs::copy(policy, upper.join("io.github.dormouse.Dormouse1.policy")));
    let options = format!("lowerdir={ACTIONS},upperdir={},workdir={}", upper.display(), work.display());
    done(mount(Some("overlay"), ACTIONS, Some("overlay"), MsFlags::empty(), Some(options.as_str())));
    done(mount(Some(&rules), RULES, none, MsFlags::MS_BIND, none));
    let mut command = Command::new("/usr/lib/polkit-1/polkitd");
    command.arg("--no-debug").env("DBUS_SYSTEM_BUS_ADDRESS", machine.address());
    let polkit = Running::start(&mut command);
    let connection = machine.connection();
    let bus = done(zbus::blocking::fdo::DBusProxy::new(&connection));
    let name = done(zbus::names::BusName::try_from("org.freedesktop.PolicyKit1"));
    let serves = || bus.name_has_owner(name.clone()).is_ok_and(|has| has).then_some(());
    assert!(until(PATIENCE, serves).is_some(), "polkit does not take its name");
    polkit
}

#[test]
fn the_real_polkit_decides() {
    let machine = Machine::start(600, None);
    let folder = done(tempfile::Builder::new().prefix("dormouse-polkit-").tempdir_in("/var/tmp"));
    done(fs::set_permissions(folder.path(), Permissions::from_mode(0o755)));
    let _polkit = polkit(&machine, folder.path());
    let mut specimen = started("regular_file", User::Ordinary);
    let pid = specimen.pid().to_string();
    let refused = machine.ask(ANNA, &Call::Freeze(pid.clone(), false));
    assert!(refused.as_ref().is_err_and(|error| error.contains("You have to authenticate")), "{refused:?}");

    done(fs::write(folder.path().join("rules/10-anna.rules"), RULE));
    // polkit reads a new rule within a second or two; a pause harms nobody meanwhile.
    let allowed = until(PATIENCE, || {
        machine.ask(ANNA, &Call::Resume(pid.clone())).err().filter(|error| !error.contains("authenticate"))
    });
    assert!(allowed.is_some(), "the rule is not read");
    let image = asleep(&machine, &mut specimen);
    let refused = machine.ask(BEN, &Call::Thaw(image.clone()));
    assert!(refused.is_err_and(|error| error.contains("You have to authenticate")));
    awake(&machine, &mut specimen, &image);
}
