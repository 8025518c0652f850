//! Every method and property of the service, asked by somebody about what is another's: the introspection files are walked,
//! so that a new one without its line here fails the test.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use dormouse_wire::dbus::PATH;
use harness::User;
use harness::specimen::Answer;

use crate::client::{Argument, Call};
use crate::machine::{ANNA, BEN, Machine, OWN, done};
use crate::sleep::{asleep, awake, started};

const DENIED: &str = "org.freedesktop.DBus.Error.AccessDenied";
const NOT_AUTHORIZED: &str = "io.github.dormouse.Dormouse1.Error.NotAuthorized";

/// What Ben must be told.
enum Told {
    /// A refusal that says this.
    Refused(&'static str),
    /// A job that fails and says this.
    Fails(&'static str),
    /// An answer that has this in it.
    Shows(&'static str),
    /// His own jobs, and not hers, which is the first.
    OwnJobs,
}

/// The methods and properties of the introspection files, each as `Interface.Name`.
fn members(kind: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/dbus");
    let mut found = Vec::new();
    for path in done(fs::read_dir(folder)).flatten().map(|entry| entry.path()) {
        let text = done(fs::read_to_string(&path));
        let mut interface = None;
        let named = |line: &str, element: &str| {
            let rest = line.trim().strip_prefix(&format!("<{element} name=\""))?;
            rest.split_once('"').map(|(name, _)| name.to_owned())
        };
        for line in text.lines().filter(|_| path.extension().is_some_and(|extension| extension == "xml")) {
            interface = named(line, "interface").or(interface);
            if let (Some(name), Some(interface)) = (named(line, kind), &interface) {
                found.push(format!("{}.{name}", interface.rsplit('.').next().unwrap_or_default()));
            }
        }
    }
    assert!(found.len() > 5, "the introspection files are not read: {found:?}");
    found
}

fn methods(pid: i32, image: &str, file: &str) -> BTreeMap<&'static str, (Vec<Argument>, Told)> {
    use Told::{Fails, Refused, Shows};
    let text = |text: &str| Argument::Text(text.to_owned());
    let (group, image, file) = (text(&pid.to_string()), text(image), Argument::File(file.to_owned()));
    let of_group = || vec![group.clone()];
    let of_image = || vec![image.clone()];
    BTreeMap::from([
        ("Groups.List", (vec![Argument::Yes], Refused(NOT_AUTHORIZED))),
        ("Groups.Verdict", (of_group(), Refused(NOT_AUTHORIZED))),
        ("Groups.Check", (of_group(), Refused(NOT_AUTHORIZED))),
        // What ps(1) shows to everybody, and no descriptor.
        ("Groups.Process", (vec![Argument::Number(pid)], Shows(r#""descriptors":[]"#))),
        ("Groups.Freeze", (vec![group.clone(), Argument::NoOptions], Refused(NOT_AUTHORIZED))),
        ("Groups.Pause", (of_group(), Refused(NOT_AUTHORIZED))),
        ("Groups.Resume", (of_group(), Refused(NOT_AUTHORIZED))),
        ("Groups.Watch", (Vec::new(), Shows("null"))),
        ("Groups.Unwatch", (Vec::new(), Shows("null"))),
        ("Images.List", (Vec::new(), Shows("[]"))),
        ("Images.Folder", (Vec::new(), Shows("/ben/"))),
        ("Images.Inspect", (of_image(), Refused("No such file"))),
        ("Images.Preflight", (of_image(), Shows("No such file"))),
        ("Images.Thaw", (vec![image.clone(), Argument::NoOptions], Fails("No such file"))),
        ("Images.MoveTo", (vec![text("/etc")], Fails("/etc/dormouse"))),
        ("Images.Export", (vec![image.clone(), file.clone()], Fails("No such file"))),
        ("Images.ExportBundle", (vec![image.clone(), file.clone(), Argument::NoOptions], Fails("No such file"))),
        ("Images.Import", (vec![image.clone(), file], Fails("could not be imported"))),
        ("Images.Delete", (of_image(), Refused("No such file"))),
        ("Job.Cancel", (Vec::new(), Refused(DENIED))),
        ("Service.Jobs", (Vec::new(), Told::OwnJobs)),
        ("Service.AtLogout", (Vec::new(), Shows(r#""chosen":false"#))),
        // His own choice.
        ("Service.SetAtLogout", (vec![Argument::Yes], Shows("null"))),
    ])
}

#[test]
fn no_method_reaches_what_is_anothers() {
    let machine = Machine::start(600, Some(OWN));
    let mut running = started("regular_file", User::Ordinary);
    let mut specimen = started("regular_file", User::Ordinary);
    let image = asleep(&machine, &mut specimen);
    let jobs = machine.told(ANNA, &Call::Jobs);
    let job = jobs[0].as_str().unwrap_or_else(|| panic!("there is no job: {jobs}")).to_owned();
    let path = |interface: &str| if interface == "Job" { job.clone() } else { PATH.to_owned() };
    let full = |interface: &str| format!("io.github.dormouse.Dormouse1.{interface}");
    let file = machine.home(BEN).join("file");
    done(fs::write(&file, "of Ben"));
    done(std::os::unix::fs::chown(&file, Some(BEN), Some(BEN)));

    let mut table = methods(running.pid(), &image, &file.display().to_string());
    for member in members("method") {
        let (arguments, told) =
            table.remove(member.as_str()).unwrap_or_else(|| panic!("nothing is known here of {member}"));
        let (interface, name) = member.split_once('.').unwrap_or_default();
        let call = Call::Method(path(interface), full(interface), name.to_owned(), arguments);
        let answer = machine.ask(BEN, &call);
        let right = match (&told, &answer) {
            (Told::Refused(words), Err(error)) => error.contains(words),
            (Told::Fails(words), Ok(job)) => job["state"] == "failed" && job.to_string().contains(words),
            (Told::Shows(words), Ok(shown)) => shown.to_string().contains(words),
            (Told::OwnJobs, Ok(shown)) => shown.is_array() && !shown.to_string().contains(&format!("\"{job}\"")),
            _ => false,
        };
        assert!(right, "{member}: {answer:?}");
    }
    assert!(table.is_empty(), "there is no such method any more: {:?}", table.keys());

    for member in members("property") {
        let (interface, name) = member.split_once('.').unwrap_or_default();
        let arguments = [full(interface), name.to_owned()].map(Argument::Text).to_vec();
        let properties = "org.freedesktop.DBus.Properties".to_owned();
        let answer = machine.ask(BEN, &Call::Method(path(interface), properties, "Get".to_owned(), arguments));
        // What the service says of itself is everybody's.
        let open = ["Service.Version", "Service.Lacks"].contains(&member.as_str());
        let right = match &answer {
            Ok(_) => open,
            Err(error) => !open && error.starts_with(DENIED),
        };
        assert!(right, "{member}: {answer:?}");
    }
    assert_eq!(done(fs::read_to_string(&file)), "of Ben");
    let chosen = |user| machine.home(user).join(".config/dormouse/session-at-logout").metadata().ok();
    assert_eq!(chosen(BEN).map(|file| std::os::unix::fs::MetadataExt::uid(&file)), Some(BEN));
    assert!(chosen(ANNA).is_none(), "he has chosen for her");
    assert_eq!(running.go(), Answer::Ok);
    awake(&machine, &mut specimen, &image);
}
