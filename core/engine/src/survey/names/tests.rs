//! The rules of naming, tried on values.

use dormouse_wire::Pid;

use super::*;
use crate::survey::everyone::Cgroups;
use crate::survey::groups;

fn entry(id: &str, name: &str, program: &str) -> Entry {
    let (name, program) = (name.to_owned(), Some(program.as_bytes().to_vec()));
    Entry { id: id.to_owned(), name, program, icon: Some(format!("{id}-icon")), words: 1, ..Entry::default() }
}

fn entries() -> Entries {
    Entries::new(vec![
        entry("org.gnome.Calculator", "Taschenrechner", "gnome-calculator"),
        Entry { words: 2, ..entry("firefox-private", "Private window", "firefox") },
        Entry { window_class: Some("Navigator".to_owned()), ..entry("firefox", "Firefox", "firefox") },
        Entry { no_display: true, ..entry("aaa", "Handler", "firefox") },
        Entry { hidden: true, ..entry("org.x.Gone", "", "gone") },
        entry("org.x.Gone", "Shadowed", "gone"),
        entry("org.x.Script", "Script", "tweaks"),
    ])
}

fn named(unit: &str, process: Process) -> (String, Option<String>) {
    let cgroups = Cgroups::parse(format!("0::/{unit}\n").into_bytes()).expect("a path");
    let processes = [Process { cgroups: Some(cgroups.into()), ..process }];
    let groups = groups::of(&processes);
    let name = entries().name(&groups[0]);
    (name.name, name.application)
}

fn plain(process: Process) -> String {
    named("", process).0
}

#[test]
fn an_app_is_named_by_the_desktop_file_in_its_unit() {
    let bwrap = || Process::sample(7, &["bwrap", "--args"]);
    let (name, application) = named("app-gnome-org.gnome.Calculator-7.scope", bwrap());
    assert_eq!((name.as_str(), application.as_deref()), ("Taschenrechner", Some("org.gnome.Calculator")));
    assert_eq!(named("dbus-:1.2-org.gnome.Calculator@0.service", bwrap()).0, "Taschenrechner");
    // Nothing is known of it but its ID.
    assert_eq!(named("app-flatpak-org.x.Thing-7.scope", bwrap()), ("Thing".to_owned(), None));
    assert_eq!(named("app-org.x.Gone-7.scope", bwrap()), ("Gone".to_owned(), None));
}

#[test]
fn what_runs_a_program_of_a_desktop_file_has_its_name() {
    assert_eq!(plain(Process::sample(7, &["/usr/lib/firefox/firefox", "-P"])), "Firefox");
    assert_eq!(plain(Process::sample(7, &["/usr/bin/python3", "/usr/bin/tweaks"])), "Script");
    let renamed = Process { arguments: None, ..Process::sample(7, &["gnome-calculator"]) };
    assert_eq!(plain(renamed), "Taschenrechner");
    assert_eq!(plain(Process::sample(7, &["gone"])), "gone");
}

#[test]
fn others_are_named_by_their_unit_or_their_command() {
    assert_eq!(named("cups-browsed.service", Process::sample(7, &["/usr/sbin/cups"])).0, "cups-browsed");
    assert_eq!(named("run-u7.scope", Process::sample(7, &["sleep", "9"])).0, "sleep");
    assert_eq!(plain(Process::sample(7, &["python3", "server.py", "80"])), "python3 server.py");
    assert_eq!(
        plain(Process::sample(7, &["a-name-of-more-than-fifteen-letters"])),
        "a-name-of-more-than-fifteen-letters"
    );
    // It has given itself another name.
    assert_eq!(plain(Process { comm: b"Web Content".to_vec(), ..Process::sample(7, &["x", "-y"]) }), "Web Content");
    assert_eq!(
        plain(Process { comm: b"server.py".to_vec(), ..Process::sample(7, &["python3", "./server.py"]) }),
        "server.py"
    );
    let nothing = Process { arguments: None, comm: b"ended".to_vec(), ..Process::sample(7, &[]) };
    assert_eq!(plain(nothing), "ended");
}

#[test]
fn a_shell_is_named_with_the_job_in_its_foreground() {
    let shell = Process { foreground: Some(Pid(8)), ..Process::sample(7, &["-bash"]) };
    let shell = Process { comm: b"bash".to_vec(), executable: None, ..shell };
    let job = Process { session: Pid(7), parent: Pid(7), ..Process::sample(8, &["vim", "x"]) };
    let processes = [shell, job];
    assert_eq!(Entries::default().name(&groups::of(&processes)[0]).name, "bash: vim");
}

#[test]
fn a_window_is_matched_by_its_class_or_its_application_id() {
    let entries = entries();
    let id = |class: &str| entries.by_window_class(class).map(|entry| entry.id.as_str());
    assert_eq!(id("Navigator"), Some("firefox"));
    assert_eq!(id("org.gnome.Calculator"), Some("org.gnome.Calculator"));
    assert_eq!((id("Firefox"), id("calculator")), (Some("firefox"), Some("org.gnome.Calculator")));
    assert_eq!((id("org.x.Gone"), id("")), (None, None));
}
