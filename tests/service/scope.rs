//! Where systemd runs it is asked for a scope for who wakes. It is played by a stand-in on the machine's bus.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use harness::User;
use zbus::zvariant::{OwnedObjectPath, OwnedValue};

use crate::machine::{ANNA, Machine, OWN, done};
use crate::sleep::{asleep, awake, started};

/// Name, mode, properties.
type Asked = (String, String, HashMap<String, OwnedValue>);

struct Manager {
    asked: Arc<Mutex<Vec<Asked>>>,
    refuses: bool,
}

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    fn start_transient_unit(
        &self,
        name: String,
        mode: String,
        properties: Vec<(String, OwnedValue)>,
        auxiliary: Vec<(String, Vec<(String, OwnedValue)>)>,
    ) -> zbus::fdo::Result<OwnedObjectPath> {
        assert!(auxiliary.is_empty(), "auxiliary units are not used");
        let properties = properties.into_iter().collect();
        self.asked.lock().unwrap_or_else(|error| panic!("{error}")).push((name, mode, properties));
        if self.refuses {
            return Err(zbus::fdo::Error::Failed("Unit already exists.".to_owned()));
        }
        OwnedObjectPath::try_from("/org/freedesktop/systemd1/job/1")
            .map_err(|error| zbus::fdo::Error::Failed(error.to_string()))
    }
}

fn woken_with(refuses: bool) {
    let machine = Machine::start(600, Some(OWN));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let manager = Manager { asked: Arc::clone(&asked), refuses };
    let builder = done(zbus::blocking::connection::Builder::address(machine.address().as_str()));
    let builder = done(builder.serve_at("/org/freedesktop/systemd1", manager));
    let _systemd = done(done(builder.name("org.freedesktop.systemd1")).build());
    let mut specimen = started("regular_file", User::Ordinary);
    let image = asleep(&machine, &mut specimen);
    assert!(asked.lock().unwrap_or_else(|error| panic!("{error}")).is_empty(), "a freeze needs no scope");
    awake(&machine, &mut specimen, &image);

    let asked = asked.lock().unwrap_or_else(|error| panic!("{error}"));
    let [(name, mode, properties)] = asked.as_slice() else { panic!("{asked:?}") };
    let pids = properties.get("PIDs").and_then(|pids| Vec::<u32>::try_from(pids.clone()).ok()).unwrap_or_default();
    let [worker] = pids.as_slice() else { panic!("{pids:?}") };
    let stem = image.trim_end_matches(".dormouse").replace('-', r"\x2d");
    assert_eq!((name.as_str(), mode.as_str()), (format!("app-dormouse-{stem}-{worker}.scope").as_str(), "fail"));
    let text = |name: &str| properties.get(name).and_then(|value| <&str>::try_from(value).ok());
    assert_eq!(text("Slice"), Some(format!("user-{ANNA}.slice").as_str()));
    assert_eq!(text("CollectMode"), Some("inactive-or-failed"));
    assert!(text("Description").is_some_and(|words| !words.is_empty()));
    assert_eq!(properties.len(), 4, "{properties:?}");
}

#[test]
fn systemd_is_asked_for_a_scope_in_the_users_slice() {
    woken_with(false);
}

#[test]
fn a_systemd_that_makes_no_scope_hinders_nobody_from_waking() {
    woken_with(true);
}
