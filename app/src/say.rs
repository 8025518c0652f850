//! Everything the service says, in a person's words and language: one sentence for each thing, in one place.

use dormouse_wire::dbus::JobKind;
use dormouse_wire::{ByteSize, EdgeKind, Phase, Phrase, Problem, ProblemKind, ThingKind, Verdict, phrase};
use gettextrs::{dgettext, gettext, ngettext, pgettext};
use relm4::gtk::glib;

/// A sentence with its values in the places that are named for them: `{name}`. Translations may turn the order around.
pub fn with(sentence: &str, values: &[(&str, &str)]) -> String {
    phrase::filled(sentence, values)
}

/// What the service says, in the person's language.
pub fn phrase(phrase: &Phrase) -> String {
    phrase.said(&mut |template| translated(template), &mut |name, text| {
        // What the system answers is translated where the C library is; std::io::Error adds the number.
        let plain = text.split_once(" (os error ").map_or(text, |(plain, _)| plain);
        if name == WHY && is_message(plain) { dgettext("libc", plain) } else { text.to_owned() }
    })
}

/// What stands in a place of this name is an error of the system, errno(3).
const WHY: &str = "why";

/// A sentence of the service without values, in the person's language.
pub fn translated(sentence: &str) -> String {
    if is_message(sentence) { gettext(sentence) } else { sentence.to_owned() }
}

/// Whether it can be in a catalogue: the empty message is about the catalogue itself, and none has a null byte in it.
fn is_message(text: &str) -> bool {
    !text.is_empty() && !text.contains('\0')
}

/// A sentence about a number of things. `{count}` stands for the number.
pub fn counted(one: &str, many: &str, count: usize) -> String {
    with(&ngettext(one, many, u32::try_from(count).unwrap_or(u32::MAX)), &[("count", &count.to_string())])
}

/// A size, as the desktop writes sizes.
pub fn size(bytes: ByteSize) -> String {
    glib::format_size(bytes.0).to_string()
}

/// The word on the badge of a verdict.
pub fn verdict_word(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Freezable => gettext("Freezable"),
        Verdict::Lossy(_) => gettext("Lossy"),
        Verdict::Blocked(_) => gettext("Blocked"),
    }
}

/// What a verdict comes to.
pub fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Freezable => gettext("It can be frozen, and nothing is lost."),
        Verdict::Lossy(problems) => counted(
            "It can be frozen, and one thing is lost.",
            "It can be frozen, and {count} things are lost.",
            problems.len(),
        ),
        Verdict::Blocked(problems) => {
            let blocking = problems.iter().filter(|problem| blocks(problem)).count();
            counted(
                "It cannot be frozen: one thing stands in the way.",
                "It cannot be frozen: {count} things stand in the way.",
                blocking,
            )
        }
    }
}

/// Whether a problem stands in the way.
pub fn blocks(problem: &Problem) -> bool {
    problem.severity == dormouse_wire::Severity::Blocks
}

/// Whether a problem stands in the way of waking something, and nobody can decide to go on all the same.
pub fn is_final(problem: &Problem) -> bool {
    blocks(problem) && problem.remedies.is_empty()
}

/// What a problem is about, as a heading.
pub fn heading(kind: ProblemKind) -> String {
    match kind {
        ProblemKind::Selection => gettext("Which processes"),
        ProblemKind::Process => gettext("Process"),
        ProblemKind::Thread => gettext("Thread"),
        ProblemKind::Memory => gettext("Memory"),
        ProblemKind::File => gettext("File"),
        ProblemKind::DeletedFile => gettext("Deleted file"),
        ProblemKind::Device => gettext("Device"),
        ProblemKind::Pipe => gettext("Pipe"),
        ProblemKind::Terminal => gettext("Terminal"),
        ProblemKind::UnixSocket => gettext("Connection to another program"),
        ProblemKind::Socket => gettext("Network connection"),
        ProblemKind::AnonymousFile => gettext("Open descriptor"),
        ProblemKind::Lock => gettext("Lock on a file"),
        ProblemKind::Timer => gettext("Timer"),
        ProblemKind::Signal => gettext("Signal"),
        ProblemKind::Credentials => gettext("Users and rights"),
        ProblemKind::Limit => gettext("Limit"),
        ProblemKind::Scheduling => gettext("Scheduling"),
        ProblemKind::Confinement => gettext("Confinement"),
        ProblemKind::Namespace => gettext("Container"),
        ProblemKind::Tracer => gettext("Debugger"),
        ProblemKind::Family => gettext("Parent process"),
        ProblemKind::PidTaken => gettext("Process number in use"),
        ProblemKind::Processor => gettext("Processor"),
        ProblemKind::Kernel => gettext("Kernel"),
        ProblemKind::Privilege => gettext("Missing privilege"),
        ProblemKind::Image => gettext("Image"),
        ProblemKind::Space => gettext("Free space"),
        ProblemKind::Cancelled => gettext("Cancelled"),
        _ => gettext("Something else"),
    }
}

/// Who or what a problem is about: `cat (pid 7), descriptor 3`.
pub fn subject(problem: &Problem) -> Option<String> {
    match (&problem.process, &problem.resource) {
        (Some(process), Some(resource)) => Some(format!("{process}, {}", phrase(resource))),
        (Some(process), None) => Some(process.to_string()),
        (None, Some(resource)) => Some(phrase(resource)),
        (None, None) => None,
    }
}

/// Whether the way out of a problem is to pause.
pub fn offers_pause(problem: &Problem) -> bool {
    problem.way_out.as_ref().is_some_and(|way| way.to_lowercase().contains("pause"))
}

/// A clause as a sentence.
pub fn sentence(clause: &Phrase) -> String {
    let said = phrase(clause);
    let named = clause.beginning().is_some_and(|name| said.starts_with(name));
    if named { ended(said) } else { ended(capitalized(&said)) }
}

fn capitalized(clause: &str) -> String {
    let mut letters = clause.trim().chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn ended(clause: String) -> String {
    if clause.is_empty() || clause.ends_with(['.', '!', '?', '…', '。', '！', '？']) {
        return clause;
    }
    // Translators: this is put behind a sentence that the service has said.
    clause + &pgettext("ends a sentence", ".")
}

/// What a job is at.
pub fn phase(phase: Phase) -> String {
    match phase {
        Phase::Keeping => gettext("Keeping copies of its programs"),
        Phase::Stopping => gettext("Stopping the processes"),
        Phase::Recording => gettext("Recording what they hold"),
        Phase::Writing => gettext("Writing memory"),
        Phase::Sealing => gettext("Bringing it onto the disk"),
        Phase::Checking => gettext("Checking the image"),
        Phase::Building => gettext("Building the processes"),
        Phase::Reading => gettext("Reading memory back"),
    }
}

/// What a job does, before its first phase.
pub fn job(kind: JobKind) -> String {
    match kind {
        JobKind::Freeze => gettext("Freezing"),
        JobKind::Thaw => gettext("Waking up"),
        JobKind::Export => gettext("Exporting"),
        JobKind::Import => gettext("Importing"),
        JobKind::Move => gettext("Moving the images"),
    }
}

/// What could not be done.
pub fn failed(kind: JobKind, name: &str) -> String {
    let sentence = match kind {
        JobKind::Freeze => gettext("“{name}” could not be frozen"),
        JobKind::Thaw => gettext("“{name}” could not be woken up"),
        JobKind::Export => gettext("“{name}” could not be exported"),
        JobKind::Import => gettext("“{name}” could not be imported"),
        JobKind::Move => gettext("The folder of images could not be changed"),
    };
    with(&sentence, &[("name", name)])
}

/// What has been done.
pub fn done(kind: JobKind, name: &str) -> String {
    let sentence = match kind {
        JobKind::Freeze => gettext("“{name}” sleeps"),
        JobKind::Thaw => gettext("“{name}” is awake"),
        JobKind::Export => gettext("“{name}” has been exported"),
        JobKind::Import => gettext("“{name}” has been imported"),
        JobKind::Move => gettext("The images lie in the new folder now"),
    };
    with(&sentence, &[("name", name)])
}

/// It has been woken, and has so many copies in place of files.
pub fn awake_with_copies(name: &str, count: usize) -> String {
    let sentence = counted(
        "“{name}” is awake, with a copy of one changed file",
        "“{name}” is awake, with copies of {count} changed files",
        count,
    );
    with(&sentence, &[("name", name)])
}

/// How long something takes still.
pub fn left(seconds: u32) -> String {
    if seconds < 60 {
        counted("one second left", "{count} seconds left", seconds.max(1) as usize)
    } else {
        counted("one minute left", "{count} minutes left", seconds.div_ceil(60) as usize)
    }
}

/// When something was, seen from now; both in seconds since 1970.
pub fn when(then: u64, now: u64) -> String {
    let ago = now.saturating_sub(then);
    match ago {
        0..60 => gettext("just now"),
        60..3_600 => counted("a minute ago", "{count} minutes ago", (ago / 60) as usize),
        3_600..86_400 => counted("an hour ago", "{count} hours ago", (ago / 3_600) as usize),
        86_400..604_800 => counted("yesterday", "{count} days ago", (ago / 86_400) as usize),
        _ => date(then),
    }
}

/// A day, as the person's language writes it.
fn date(then: u64) -> String {
    let time = i64::try_from(then).ok().and_then(|then| glib::DateTime::from_unix_local(then).ok());
    let written = time.and_then(|time| time.format("%x").ok());
    written.map(|written| written.to_string()).unwrap_or_default()
}

/// What a thing is.
pub fn thing(kind: ThingKind) -> String {
    match kind {
        ThingKind::Pipe => gettext("Pipe"),
        ThingKind::Fifo => gettext("Named pipe"),
        ThingKind::UnixSocket => gettext("Socket"),
        ThingKind::Tcp => gettext("TCP connection"),
        ThingKind::RemoteHost => gettext("Other machine"),
        ThingKind::SharedMemory | ThingKind::SystemV => gettext("Shared memory"),
        ThingKind::File => gettext("File"),
        ThingKind::Terminal => gettext("Terminal"),
        ThingKind::Service => gettext("Service"),
        ThingKind::X11 => gettext("X11 display"),
        ThingKind::Wayland => gettext("Wayland display"),
        ThingKind::MessageBus => gettext("Message bus"),
        ThingKind::PipeWire | ThingKind::PulseAudio => gettext("Sound server"),
        ThingKind::Gpu => gettext("Graphics card"),
        ThingKind::Sound => gettext("Sound card"),
        ThingKind::Camera => gettext("Camera"),
        ThingKind::Device => gettext("Device"),
        _ => gettext("Something else"),
    }
}

/// What a tie says, between the names of its two ends.
pub fn tie(kind: EdgeKind) -> String {
    match kind {
        EdgeKind::Parent => pgettext("between two names", "is the parent of"),
        EdgeKind::Tracer => pgettext("between two names", "traces"),
        EdgeKind::Writes => pgettext("between two names", "writes to"),
        EdgeKind::Reads => pgettext("between two names", "is read by"),
        EdgeKind::Holds => pgettext("between two names", "holds"),
        EdgeKind::Maps => pgettext("between two names", "maps"),
        EdgeKind::Locks => pgettext("between two names", "locks"),
        EdgeKind::WaitsForLock => pgettext("between two names", "waits for the lock of"),
        EdgeKind::Asks => pgettext("between two names", "is connected to"),
        EdgeKind::ServedBy => pgettext("between two names", "is served by"),
        EdgeKind::Drives => pgettext("between two names", "drives"),
        EdgeKind::Controls => pgettext("between two names", "controls"),
        _ => pgettext("between two names", "is tied to"),
    }
}

#[cfg(test)]
mod tests {
    use dormouse_wire::phrase;

    use super::*;

    #[test]
    fn a_clause_becomes_a_sentence() {
        let said = |clause: &str| sentence(&Phrase::verbatim(clause));
        assert_eq!(said("it is connected"), "It is connected.");
        assert_eq!(said("Is it?"), "Is it?");
        assert_eq!(said("état"), "État.");
        assert_eq!(said(""), "");
    }

    #[test]
    fn a_sentence_may_begin_with_the_name_of_a_program() {
        let held = phrase!("{who} holds it, too", who = "cat (pid 7)");
        assert_eq!(sentence(&held), "cat (pid 7) holds it, too.");
    }

    #[test]
    fn what_the_system_answers_is_told_without_its_number() {
        let gone = std::io::Error::from_raw_os_error(2);
        assert_eq!(
            phrase(&phrase!("it cannot be read: {why}", why = gone)),
            "it cannot be read: No such file or directory"
        );
    }

    #[test]
    fn only_what_blocks_counts_as_standing_in_the_way() {
        let problems = vec![
            Problem::blocks(ProblemKind::Device, phrase!("a device")),
            Problem::loses(ProblemKind::Socket, phrase!("a socket"), phrase!("it")),
        ];
        assert_eq!(verdict(&Verdict::Blocked(problems)), "It cannot be frozen: one thing stands in the way.");
    }

    #[test]
    fn times_are_told_in_the_largest_unit() {
        let now = 1_800_000_000;
        let told = [0, 59, 60, 7_200, 86_400, 172_800].map(|ago| when(now - ago, now));
        assert_eq!(told, ["just now", "just now", "a minute ago", "2 hours ago", "yesterday", "2 days ago"]);
        assert_eq!(
            [1, 59, 60, 61].map(left),
            ["one second left", "59 seconds left", "one minute left", "2 minutes left"]
        );
    }

    #[test]
    fn pausing_is_offered_where_the_reason_says_so() {
        let problem = Problem::blocks(ProblemKind::UnixSocket, phrase!("a display"));
        assert!(!offers_pause(&problem));
        assert!(offers_pause(&problem.clone().way_out(phrase!("Pause it instead, or start it in a nested session"))));
        assert!(offers_pause(&problem.way_out(phrase!("Freeze them together, or pause the group instead"))));
    }
}
