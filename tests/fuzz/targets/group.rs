//! Takes any bytes as the record of a group, and asks of it what a thaw asks before it builds anything: whether the
//! record contradicts itself, whose it is, and what stands in the way here. Nothing is built.
//!
//! Bytes alone would hardly ever be a record: what is tried next is made by a lie about one place of one that is.

#![no_main]

#[allow(dead_code)]
#[path = "../../faults/forge.rs"]
mod forge;

use std::os::unix::fs::chown;
use std::path::Path;
use std::sync::LazyLock;

use ciborium::Value;
use dormouse_engine::image::{CHUNK_PAGES, PageBuffer, Reader, Writer};
use dormouse_engine::resource::group::Group;
use dormouse_engine::{ThawOptions, preflight};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

use forge::each;

/// So many chunks the images have, all of them full: a record may speak of their pages.
const CHUNKS: usize = 16;

fuzz_target!(|bytes: &[u8]| {
    let Ok(group) = ciborium::from_reader::<Group, _>(bytes) else { return };
    for reader in IMAGES.iter() {
        let problems = preflight(&group, reader, &ThawOptions::default());
        // A person reads them, one by one.
        assert!(problems.iter().all(|problem| !problem.what.is_empty()));
    }
});

fuzz_mutator!(|bytes: &mut [u8], size: usize, most: usize, seed: u32| {
    let lied = (seed % 8 != 0).then(|| lied(&bytes[..size], seed)).flatten();
    match lied.filter(|lied| lied.len() <= most) {
        Some(lied) => {
            bytes[..lied.len()].copy_from_slice(&lied);
            lied.len()
        }
        None => fuzzer_mutate(bytes, size, most),
    }
});

/// Images with pages and no record: one that may hold anything, and one of an ordinary user, whom it may give nothing.
static IMAGES: LazyLock<Vec<Reader>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder for an image");
    [None, Some(1000)].into_iter().map(|user| image(&folder.path().join(format!("{user:?}")), user)).collect()
});

fn image(path: &Path, user: Option<u32>) -> Reader {
    let writer = Writer::create(path).expect("an image begins");
    let mut buffer = PageBuffer::new();
    for _ in 0..CHUNKS {
        buffer.space().fill(1);
        buffer.set_len(CHUNK_PAGES);
        writer.pages().put(&mut buffer).expect("pages are taken");
    }
    writer.seal().expect("it is sealed");
    // As another than root, both are the same.
    let _ = chown(path, user, user);
    Reader::open(path).expect("it opens")
}

/// The record with one place of it changed. None: the bytes are no record of anything.
fn lied(bytes: &[u8], seed: u32) -> Option<Vec<u8>> {
    let mut record: Value = ciborium::from_reader(bytes).ok()?;
    let mut places = 0;
    each(&mut record, &mut |_| places += 1);
    let (place, choice) = (seed / 8 % places, seed / 8 / places);
    let mut at = 0;
    each(&mut record, &mut |value| {
        if at == place {
            change(value, choice);
        }
        at += 1;
    });
    let mut bytes = Vec::new();
    ciborium::into_writer(&record, &mut bytes).ok()?;
    Some(bytes)
}

fn change(value: &mut Value, choice: u32) {
    let at = |length: usize| choice as usize / 8 % length.max(1);
    match value {
        Value::Integer(number) => {
            let number = i128::from(*number);
            let top = [31, 32, 47, 56, 63, 64][at(6)];
            let changed = [0, -1, number + 1, number - 1, (1 << top) - 1, number << 12, number >> 1, -number]
                [choice as usize % 8];
            *value = ciborium::value::Integer::try_from(changed).map_or(Value::Null, Value::Integer);
        }
        Value::Bytes(bytes) => match choice % 8 {
            0 => bytes.clear(),
            1 => bytes.truncate(bytes.len() / 2),
            2 => bytes.push(0),
            3 => *bytes = b"/proc/self/exe".to_vec(),
            _ => bytes.iter_mut().skip(at(64)).step_by(64).for_each(|byte| *byte = choice as u8),
        },
        Value::Text(text) => {
            let kinds = ["", "eventfd", "timerfd", "pty", "terminal", "unix", "epoll", "pipe", "inotify", "content"];
            kinds[choice as usize % kinds.len()].clone_into(text);
        }
        Value::Bool(yes) => *yes = !*yes,
        Value::Array(items) => change_list(items, choice % 8, at(items.len())),
        // Names of fields, and choices between several.
        Value::Map(entries) if entries.len() == 1 => entries[0].1 = Value::from(choice),
        Value::Map(entries) => drop(entries.pop()),
        _ => *value = Value::from(u64::MAX >> (choice % 64)),
    }
}

fn change_list(items: &mut Vec<Value>, choice: u32, at: usize) {
    match (choice, items.get(at).cloned()) {
        (0, _) => items.clear(),
        (1, Some(item)) => items.resize(items.len() + 1000, item),
        (2, _) => items.reverse(),
        (3, Some(_)) => drop(items.remove(at)),
        (4, Some(item)) => items.insert(0, item),
        (5, Some(_)) => items.swap(0, at),
        (_, Some(item)) => items.push(item),
        (_, None) => items.push(Value::Null),
    }
}
