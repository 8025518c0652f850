//! Images whose hashes are right and whose records lie, field by field: a thaw of one succeeds or says in words why not.
//! It never panics, hangs, takes memory without bound, or leaves a process behind.
//!
//! Each thaw runs in namespaces of its own, of processes, of System V objects and of mounts, where the system's own files cannot be written: what
//! a lie does, it does there.

use std::fs;
use std::path::Path;
use std::process::Command;

use ciborium::Value;
use harness::forge::{each, field, forged, group};
use harness::{Program, Specimen, User, command};

use crate::ZOO;

/// Init of the namespace: thaws, then looks who is there besides itself. Zombies are nobody, and whoever is on his way out has a moment for that.
const INIT: &str = r#"
ulimit -S -v 4000000 && ulimit -S -c 0 && mount --bind /usr /usr && mount -o remount,bind,ro /usr || exit 3
while read -r _ place kind _; do
    case $kind in cgroup|cgroup2) mount -o remount,bind,ro "$place" || exit 3;; esac
done < /proc/self/mounts
timeout -k 1 20 "$1" thaw --background "$2" 2>"$3"
status=$?
for moment in 1 2 3 4 5 6 7 8 9 10; do
    left=
    for process in /proc/[0-9]*; do
        case $process in /proc/1) continue;; esac
        read -r stat < "$process/stat" 2>/dev/null || continue
        case ${stat##*) } in Z*|X*) ;; *) left="$left$stat
";; esac
    done
    if [ -z "$left" ] || [ $status = 0 ]; then break; fi
    sleep 0.2
done
printf %s "$left"
exit $status
"#;

/// How many lies are told about each program.
fn lies() -> usize {
    std::env::var("DORMOUSE_TEST_LIES").ok().and_then(|lies| lies.parse().ok()).unwrap_or(40)
}

/// A generator of numbers, xorshift64: the same lies every time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below.max(1) as u64) as usize
    }
}

/// Tells one lie; answers what it was.
fn lie(record: &mut Value, numbers: &mut Numbers) -> String {
    let mut count = 0;
    each(record, &mut |_| count += 1);
    let (place, choice) = (numbers.next(count), numbers.next(8));
    let mut at = 0;
    let mut told = String::new();
    each(record, &mut |value| {
        if at == place && told.is_empty() {
            let before = shown(value);
            change(value, choice);
            told = format!("place {place} of {count}: {before} becomes {}", shown(value));
        }
        at += 1;
    });
    told
}

fn change(value: &mut Value, choice: usize) {
    match value {
        Value::Integer(number) => {
            let number = i128::from(*number);
            let numbers = [0, -1, number + 1, 1 << 31, i128::from(i64::MAX), i128::from(u64::MAX), 4096, number << 12];
            *value = ciborium::value::Integer::try_from(numbers[choice]).map_or(Value::Null, Value::Integer);
        }
        Value::Bytes(bytes) => match choice {
            0 => bytes.clear(),
            1 => bytes.push(0),
            2 => bytes.resize(1 << 20, 0xff),
            3 => *bytes = b"/proc/self/exe".to_vec(),
            _ => bytes.truncate(bytes.len() / 2),
        },
        Value::Text(text) => ["", "x", "eventfd", "regular"][choice % 4].clone_into(text),
        Value::Bool(yes) => *yes = !*yes,
        Value::Array(items) => match (choice, items.first().cloned()) {
            (0, _) => items.clear(),
            (1 | 2, Some(first)) => items.resize(items.len() + 10_000, first),
            (3, _) => items.reverse(),
            (4, _) => drop(items.pop()),
            (_, Some(first)) => items.push(first),
            (_, None) => items.push(Value::Null),
        },
        Value::Map(entries) => match choice {
            0..4 => drop(entries.pop()),
            _ => entries.reverse(),
        },
        _ => *value = Value::from(u64::MAX >> choice),
    }
}

fn shown(value: &Value) -> String {
    format!("{value:?}").chars().take(60).collect()
}

fn told_of(name: &'static str, user: User) {
    let mut specimen = Specimen::start(Path::new(ZOO), &Program::named(name), user);
    specimen.wait_ready().unwrap_or_else(|answer| panic!("{name} could not be set up: {answer:?}"));
    let members = specimen.members();
    specimen.freeze().expect_success("freeze");
    specimen.assert_asleep(&members);
    let (image, truth) = (specimen.image(), group(&specimen.image()));
    let lied = image.with_file_name("lie.dormouse");
    let mut numbers = Numbers(0x5eed_0000 + name.len() as u64);
    forged(&image, &truth, &lied);
    assert!(thawed(&lied, "the truth"), "{name} does not come back where the lies are tried");
    fs::remove_file(&lied).unwrap_or_else(|error| panic!("{error}"));
    let mut refused = 0;
    for _ in 0..lies() {
        let mut record = truth.clone();
        let what = lie(&mut record, &mut numbers);
        forged(&image, &record, &lied);
        refused += usize::from(!thawed(&lied, &what));
        fs::remove_file(&lied).unwrap_or_else(|error| panic!("{error}"));
    }
    assert!(refused * 4 > lies(), "hardly a lie about {name} is noticed: {refused}");
    // Who came back from a lie may have said something in the same folder.
    for entry in fs::read_dir(specimen.folder()).into_iter().flatten().flatten() {
        if ["result", "part"].iter().any(|said| entry.file_name().to_string_lossy().starts_with(said)) {
            fs::remove_file(entry.path()).unwrap_or_else(|error| panic!("{error}"));
        }
    }
    specimen.thaw().expect_success("thaw");
    assert_eq!(specimen.go(), harness::specimen::Answer::Ok);
}

/// Whether the thaw succeeded; panics when it failed in another way than with words.
fn thawed(image: &Path, lie: &str) -> bool {
    let errors = image.with_extension("err");
    let _ = fs::remove_file(&errors);
    let output = Command::new("unshare")
        .args(["--fork", "--pid", "--ipc", "--mount-proc", "--kill-child", "sh", "-c", INIT, "sh"])
        .arg(command::path())
        .args([image, &errors])
        .output()
        .unwrap_or_else(|error| panic!("unshare: {error}"));
    let said = fs::read(&errors).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default();
    let left = String::from_utf8_lossy(&output.stdout);
    let code = output.status.code();
    let trouble = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(code, Some(0 | 1)), "{lie}: the thaw ended with {:?}\n{said}\n{trouble}", output.status);
    assert!(!said.contains("panicked"), "{lie}: the engine failed\n{said}");
    if code == Some(1) {
        assert!(said.contains("dormouse: ") && said.len() > 60, "{lie}: it was refused without words\n{said}");
        assert!(left.is_empty(), "{lie}: the thaw has failed and left\n{left}\n{said}");
    }
    code == Some(0)
}

/// Some of the threads are there already when one of them cannot be made: they go too.
#[test]
fn about_the_id_of_each_thread() {
    const TOO_HIGH: i32 = 1 << 25;
    let mut specimen = Specimen::start(Path::new(ZOO), &Program::named("threads"), User::Root);
    specimen.wait_ready().unwrap_or_else(|answer| panic!("it could not be set up: {answer:?}"));
    specimen.freeze().expect_success("freeze");
    let (image, truth) = (specimen.image(), group(&specimen.image()));
    let lied = image.with_file_name("lie.dormouse");
    for thread in 0.. {
        let (mut record, mut seen) = (truth.clone(), 0);
        each(&mut record, &mut |value| {
            if let Some(tid) = field(value, "registers").is_some().then(|| field(value, "tid")).flatten() {
                if seen == thread {
                    *tid = Value::from(TOO_HIGH);
                }
                seen += 1;
            }
        });
        if thread == seen {
            assert!(seen > 2, "its threads were not found");
            break;
        }
        forged(&image, &record, &lied);
        assert!(
            !thawed(&lied, &format!("the id of thread {thread}")),
            "a thread came back with an id that none can have"
        );
        fs::remove_file(&lied).unwrap_or_else(|error| panic!("{error}"));
    }
    specimen.thaw().expect_success("thaw");
    assert_eq!(specimen.go(), harness::specimen::Answer::Ok);
}

macro_rules! lies {
    ($($test:ident: $program:ident, $user:ident;)*) => {
        $(#[test]
        fn $test() {
            told_of(stringify!($program), User::$user);
        })*
    };
}

lies! {
    about_memory_files: memfd, Root;
    about_pipes: pipe, Ordinary;
    about_families: sessions, Root;
    about_threads: threads, Ordinary;
    about_timers: posix_timers, Root;
    about_shared_tables: shared_tables, Root;
    about_files: regular_file, Ordinary;
    about_interrupted_calls: polls, Root;
    about_waiting_signals: pending_signals, Root;
    about_locks: locks, Root;
    about_epoll_sets: epoll, Root;
    about_zombies: zombies, Root;
    about_connections: tcp_half_closed, Root;
    about_datagrams: udp_queues, Root;
    about_filters: seccomp_filters, Ordinary;
    about_segments: segments_removed, Ordinary;
    about_message_queues: message_queue, Root;
    about_files_of_processes: process_files, Ordinary;
    about_control_groups: control_groups_of_threads, Root;
    about_leases: leases, Ordinary;
    about_parts_of_segments: segments_apart, Root;
}
