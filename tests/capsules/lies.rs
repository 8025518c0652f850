//! Records of namespaces that lie.

use std::fs;
use std::path::Path;

use ciborium::Value;
use dormouse_engine::image::{Reader, SectionKind};
use harness::forge::{each, forged_section};
use harness::wait::{PATIENCE, until};
use harness::{Job, User};

use crate::{end, fall_asleep, find_init, image, in_bwrap, in_bwrap_of, init, run, wake_up};

/// What a record can be made to say, place by place.
fn lies(value: &Value) -> Vec<Value> {
    match value {
        Value::Integer(_) => vec![Value::from(0), Value::from(u64::MAX), Value::from(-1)],
        Value::Bytes(_) => {
            vec![Value::Bytes(b"/../etc".to_vec()), Value::Bytes(vec![0]), Value::Bytes(b"a/b".to_vec())]
        }
        Value::Text(_) => vec![Value::from("user"), Value::from("ext4")],
        Value::Array(items) => vec![Value::Array(Vec::new()), Value::Array([items.clone(), items.clone()].concat())],
        Value::Bool(is) => vec![Value::Bool(!is)],
        _ => vec![Value::Null],
    }
}

/// An image whose record of namespaces lies is refused in words, or comes back within namespaces of its own: outside nothing changes.
#[test]
fn a_record_of_namespaces_that_lies_does_no_harm() {
    lied(in_bwrap(&["--as-pid-1", "--unshare-net"], &["ipc"]), &|place| place < 300 || place % 97 == 0);
}

/// The same of one in which there are user namespaces: those stand behind all settings.
#[test]
fn a_record_of_user_namespaces_that_lies_does_no_harm() {
    let job = in_bwrap_of(User::Ordinary, &["--unshare-user", "--as-pid-1"], &["ipc", "users"]);
    lied(job, &|_| true);
}

/// `chosen`: which places in the record are tried.
fn lied(mut job: Job, chosen: &dyn Fn(usize) -> bool) {
    let (folder, image) = (job.specimen().folder(), image(&mut job));
    fall_asleep(&mut job, init(&folder));
    let path = Path::new(&image);
    let reader = Reader::open(path).unwrap_or_else(|error| panic!("{error}"));
    let record: Value = reader.section(SectionKind::Namespaces).unwrap_or_else(|error| panic!("{error}"));
    let mut count = 0;
    each(&mut record.clone(), &mut |_| count += 1);
    let mounts = || fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let (before, forged) = (mounts(), path.with_extension("forged"));
    let mut refused = 0;
    // Settings of the network are many, and alike.
    for place in (0..count).filter(|place| chosen(*place)).step_by(3) {
        let mut choices = Vec::new();
        let mut at = 0;
        each(&mut record.clone(), &mut |value| {
            if at == place {
                choices = lies(value);
            }
            at += 1;
        });
        let Some(choice) = choices.get(place / 3 % choices.len().max(1)) else { continue };
        let mut changed = record.clone();
        at = 0;
        each(&mut changed, &mut |value| {
            if at == place {
                *value = choice.clone();
            }
            at += 1;
        });
        forged_section(path, SectionKind::Namespaces, &changed, &forged);
        let outcome = run(&mut job, &["thaw", &forged.to_string_lossy()]);
        assert!(matches!(outcome.status.code(), Some(0 | 1)), "place {place}: {:?} {}", outcome.status, outcome.said);
        assert!(!outcome.said.contains("panicked"), "place {place}: {}", outcome.said);
        if outcome.status.success() {
            end(init(&folder));
        } else {
            refused += 1;
            let left = until(PATIENCE, || find_init(&folder).is_none().then_some(()));
            assert!(left.is_some(), "place {place}: somebody is left: {}", outcome.said);
        }
        assert_eq!(mounts(), before, "place {place}");
        fs::remove_file(&forged).unwrap_or_else(|error| panic!("{error}"));
    }
    assert!(refused > 20, "only {refused} lies were found out");
    wake_up(&mut job);
    end(init(&folder));
}
