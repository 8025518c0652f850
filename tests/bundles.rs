//! `dormouse export`: an image with all that it needs goes to a machine that has neither its programs nor its files, and wakes there.
#![allow(missing_docs, clippy::panic)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use harness::command::{self, Outcome};
use harness::packaged::{RIGHT, awake, awake_with_mappings, forget, kept};
use harness::wait::{PATIENCE, until};
use harness::{Job, User};

fn done<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

struct Scene {
    job: Job,
    group: BTreeSet<i32>,
    home: PathBuf,
    bundle: PathBuf,
}

impl Scene {
    /// Frozen, with nothing kept, or copies of programs; no bundle yet.
    fn asleep(keep: &str) -> Self {
        let (mut job, home) = awake(User::Root);
        let group = job.specimen().members();
        job.specimen().freeze_with(&["--keep", keep]).expect_success("freeze");
        job.specimen().assert_asleep(&group);
        let bundle = job.specimen().folder().join("all.dormouse-bundle");
        Self { job, group, home, bundle }
    }

    fn run(&mut self, arguments: &[&str]) -> Outcome {
        let folder = self.job.specimen().folder();
        command::run(arguments, &folder, || harness::group::reap(&BTreeSet::new()))
    }

    fn export(&mut self, more: &[&str]) -> Outcome {
        let (image, bundle) = (self.job.specimen().image(), self.bundle.clone());
        self.run(&[&["export", &image.to_string_lossy(), "-o", &bundle.to_string_lossy()], more].concat())
    }

    /// As on another machine: neither the image nor anything that was kept is here.
    fn arrive_elsewhere(&mut self) {
        let image = self.job.specimen().image();
        done(fs::remove_file(image));
        self.forget_library();
        done(fs::remove_dir_all(&self.home));
    }

    /// The copy of the library that is kept is not there any more.
    fn forget_library(&mut self) {
        let library = done(fs::read(self.home.join("library.so")));
        while let Some(object) = kept(&library) {
            done(fs::remove_file(object));
        }
    }

    fn thaw(&mut self, more: &[&str]) -> Outcome {
        let bundle = self.bundle.clone();
        self.run(&[&["thaw", &bundle.to_string_lossy()], more].concat())
    }

    /// `inspect` or `verify`.
    fn look(&mut self, command: &str, more: &[&str]) -> Outcome {
        let bundle = self.bundle.clone();
        self.run(&[&[command, &bundle.to_string_lossy()], more].concat())
    }

    fn end(&mut self) -> String {
        self.job.make("go");
        std::mem::take(&mut self.bundle);
        let until = until(PATIENCE, || self.job.said().contains("where").then_some(()));
        assert!(until.is_some(), "{}", self.job.said());
        self.job.said()
    }
}

fn stem(scene: &mut Scene) -> String {
    scene.job.specimen().image().file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

#[test]
fn a_bundle_wakes_where_neither_its_programs_nor_its_files_are() {
    let _alone = harness::alone::with_images_of_root();
    for keep in ["programs", "none"] {
        let mut scene = Scene::asleep(keep);
        let stem = stem(&mut scene);
        let exported = scene.export(&["--working-files"]);
        exported.expect_success("export");
        assert!(!exported.words().contains("not in it"), "{}", exported.said);
        scene.arrive_elsewhere();
        let log = scene.home.join("log");
        let thawed = scene.thaw(&[]);
        thawed.expect_success("thaw");
        let said = thawed.words();
        assert!(
            said.contains("copies that were kept are in use") && said.contains("it has the copy of the freeze"),
            "{said}"
        );
        let said = scene.end();
        assert!(said.starts_with(&format!("{RIGHT}log two three\n")), "{said}");
        let place = said.lines().find_map(|line| line.strip_prefix("where ")).map(PathBuf::from).unwrap_or_default();
        assert!(place.starts_with("/var/lib/dormouse/files"), "{}", place.display());
        assert_eq!(done(fs::read_to_string(&place)), "one two three!");
        assert!(!scene.home.exists() && !log.exists(), "nothing of it comes into places that others see");
        done(fs::remove_file(place));
        forget(&stem);
    }
}

#[test]
fn nothing_that_is_there_is_written_over() {
    let _alone = harness::alone::with_images_of_root();
    let mut scene = Scene::asleep("programs");
    let stem = stem(&mut scene);
    scene.export(&["--working-files"]).expect_success("export");
    let again = scene.export(&[]);
    assert!(!again.status.success() && again.words().contains("exists"), "{}", again.said);
    let (library, program) = (scene.home.join("library.so"), scene.home.join("program"));
    done(fs::write(&library, "another"));
    done(fs::remove_file(&program));
    let log = scene.home.join("log");
    done(fs::write(&log, "other words than those"));
    let group = scene.group.clone();
    let stopped = scene.thaw(&[]);
    assert!(!stopped.status.success() && stopped.words().contains("--changed-files"), "{}", stopped.said);
    scene.job.specimen().assert_asleep(&group);
    let thawed = scene.thaw(&["--changed-files", "kept"]);
    thawed.expect_success("thaw");
    let said = scene.end();
    assert!(said.starts_with(&format!("{RIGHT}log two three\n")), "{said}");
    assert_eq!(done(fs::read_to_string(&library)), "another");
    assert_eq!(done(fs::read_to_string(&log)), "other words than those");
    assert!(!program.exists());
    forget(&stem);
}

#[test]
fn working_files_are_packed_on_request_only() {
    let mut scene = Scene::asleep("programs");
    let exported = scene.export(&[]);
    exported.expect_success("export");
    assert!(exported.words().contains("not in it: --working-files"), "{}", exported.said);
    let listed = done(Command::new("tar").arg("-tvf").arg(&scene.bundle).output());
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.lines().next().is_some_and(|line| line.ends_with("dormouse-bundle.json")), "{listed}");
    assert!(listed.contains("objects/") && listed.contains("image.dormouse"), "{listed}");
    let manifest = done(Command::new("tar").arg("-xOf").arg(&scene.bundle).arg("dormouse-bundle.json").output());
    let manifest = String::from_utf8_lossy(&manifest.stdout).into_owned();
    assert!(manifest.contains("home/library.so") && !manifest.contains("/log\""), "{manifest}");
}

#[test]
fn what_has_changed_and_was_not_kept_cannot_be_packed() {
    let mut scene = Scene::asleep("none");
    done(fs::write(scene.home.join("library.so"), "another"));
    done(fs::remove_file(scene.home.join("program")));
    let refused = scene.export(&["--working-files"]);
    let said = refused.words();
    assert!(!refused.status.success() && said.contains("home/library.so") && said.contains("home/program"), "{said}");
    assert!(said.contains("no copy of it was kept") && !scene.bundle.exists(), "{said}");
    let left = done(fs::read_dir(scene.job.specimen().folder())).flatten();
    assert!(left.into_iter().all(|entry| !entry.file_name().to_string_lossy().contains("partial")));
}

/// Cut, changed, or made by somebody who means ill: it is refused, and nothing comes onto the disk but in the private place.
#[test]
fn a_bundle_that_is_none_is_refused() {
    let mut scene = Scene::asleep("programs");
    scene.export(&[]).expect_success("export");
    let group = scene.group.clone();
    let whole = done(fs::read(&scene.bundle));
    let refused = |scene: &mut Scene, bytes: &[u8], why: &str| {
        done(fs::write(&scene.bundle, bytes));
        let outcome = scene.thaw(&[]);
        let said = outcome.words();
        assert!(!outcome.status.success() && said.contains(why), "{why}: {said}");
        assert!(!said.contains("panicked"), "{said}");
        let verified = scene.look("verify", &[]);
        assert!(!verified.status.success() && !verified.said.contains("panicked"), "{}", verified.said);
        scene.job.specimen().assert_asleep(&group);
    };
    for length in [600, 5000, whole.len() / 2, whole.len() - 20_000] {
        refused(&mut scene, &whole[..length], "The bundle cannot be used");
    }
    scene.forget_library();
    let mut changed = whole.clone();
    let end = done(fs::read(scene.home.join("library.so")));
    let end = &end[end.len() - 64..];
    let place = whole.windows(end.len()).position(|window| window == end);
    changed[place.unwrap_or_else(|| panic!("the library is not in it"))] ^= 1;
    refused(&mut scene, &changed, "The bundle cannot be used");
    // What is in it has names that lead elsewhere, links, and what it does not name.
    for (name, kind) in [
        ("../../../tmp/dormouse-evil", b'0'),
        ("objects/../../evil", b'0'),
        ("objects/x", b'2'),
        ("image.dormouse", b'1'),
    ] {
        refused(&mut scene, &with_entry(&whole, name, kind), "The bundle cannot be used");
    }
    assert!(!Path::new("/tmp/dormouse-evil").exists() && !Path::new("/var/lib/dormouse/evil").exists());
    refused(&mut scene, &whole[..100], "");
}

/// Neither what was taken of it nor what has been left by somebody who was killed stays on the disk.
#[test]
fn a_bundle_that_is_refused_leaves_nothing_behind() {
    let _alone = harness::alone::with_images_of_root();
    let mut scene = Scene::asleep("none");
    scene.export(&[]).expect_success("export");
    let library = done(fs::read(scene.home.join("library.so")));
    let room = "mount -t tmpfs -o size=1m none /var/lib/dormouse && \"$0\" thaw \"$1\"; \
                echo \"$(find /var/lib/dormouse -size +1k | wc -l) left\"";
    let mut full = Command::new("unshare");
    full.args(["-m", "sh", "-c", room]).arg(command::path()).arg(&scene.bundle);
    let full = done(harness::specimen::without_inheritance(&mut full).output());
    let said = String::from_utf8_lossy(&full.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("there is no room for what is in the bundle"), "{said}");
    assert!(said.contains("/var/lib/dormouse Why") && said.contains("Free space"), "{said}");
    assert_eq!(String::from_utf8_lossy(&full.stdout), "0 left\n");

    let whole = done(fs::read(&scene.bundle));
    done(fs::write(&scene.bundle, &whole[..whole.len() - 20_000]));
    let left = Path::new("/var/lib/dormouse/.import-0");
    let file = done(File::create(left));
    done(file.set_modified(SystemTime::now() - Duration::from_mins(1)));
    drop(file);
    // Whoever freezes something just now is not disturbed: then it is for the next time.
    let gone = until(PATIENCE, || {
        let refused = scene.thaw(&[]);
        assert!(!refused.status.success() && refused.words().contains("it has been cut"), "{}", refused.said);
        kept(&library).is_none().then_some(())
    });
    assert!(gone.is_some() && !left.exists());
}

/// The bundle with one entry more, behind what is in it.
fn with_entry(whole: &[u8], name: &str, kind: u8) -> Vec<u8> {
    let end = whole.len() - 1024;
    let mut header = [0u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..107].copy_from_slice(b"0000644");
    header[124..135].copy_from_slice(b"00000000000");
    header[156] = kind;
    header[257..263].copy_from_slice(b"ustar ");
    seal(&mut header);
    [&whole[..end], &header[..], &[0; 1024]].concat()
}

/// Writes the checksum of a header anew.
fn seal(header: &mut [u8]) {
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

/// Looked into and checked where it lies, to the last byte of the image and of each file.
#[test]
fn what_is_in_a_bundle_is_told_and_all_of_it_is_checked() {
    let mut scene = Scene::asleep("programs");
    scene.export(&["--working-files"]).expect_success("export");
    let told = scene.look("inspect", &[]);
    told.expect_success("inspect");
    for what in ["home/library.so", "home/program", "/log", "in the bundle", "PROCESS", "python3"] {
        assert!(told.said.contains(what), "{what}: {}", told.said);
    }
    let json: serde_json::Value = done(serde_json::from_str(&scene.look("inspect", &["--json"]).said));
    let library = scene.home.join("library.so").display().to_string();
    let files = json["bundle"]["files"].as_array().cloned().unwrap_or_default();
    let packed = files.iter().find(|file| file["path"] == library.as_str()).unwrap_or_else(|| panic!("{json}"));
    let (content, image) = (done(fs::read(&library)), done(fs::read(scene.job.specimen().image())));
    assert_eq!(packed["size"].as_u64(), Some(content.len() as u64));
    assert_eq!(json["size"].as_u64(), Some(image.len() as u64));
    assert_eq!(json["bundle"]["size"].as_u64(), Some(done(scene.bundle.metadata()).len()));
    assert!(json["group"]["processes"].as_array().is_some_and(|all| all.len() == scene.group.len()), "{json}");
    // Whatever lies where the command is given.
    let name = json["bundle"]["image"].as_str().unwrap_or_default().to_owned();
    done(fs::write(scene.home.join(&name), ""));
    let mut inspect = Command::new(command::path());
    inspect.arg("inspect").arg(&scene.bundle).arg("--json").current_dir(&scene.home);
    let there: serde_json::Value = done(serde_json::from_slice(&done(inspect.output()).stdout));
    assert_eq!(there["bundle"]["image"], name.as_str());
    done(fs::remove_file(scene.home.join(&name)));
    let whole = scene.look("verify", &[]);
    whole.expect_success("verify");
    assert!(whole.words().contains(&format!("the image and of {} files", files.len())), "{}", whole.said);

    let bytes = done(fs::read(&scene.bundle));
    let find = |part: &[u8]| bytes.windows(part.len()).position(|window| window == part);
    let library_at = find(&content[content.len() - 64..]).unwrap_or_else(|| panic!("the library is not in it"));
    let image_at = find(&image[..4096 + 256]).unwrap_or_else(|| panic!("the image is not in it"));
    let table = image.len() - 200;
    for (places, named) in [
        (&[library_at][..], &["home/library.so", "bytes have changed"][..]),
        (&[image_at + 4096 + 10], &["page data of chunk 0", "memory of"]),
        (&[library_at, image_at + 4096 + 10], &["home/library.so", "page data of chunk 0"]),
        (&[image_at + table], &["is damaged"]),
    ] {
        let mut changed = bytes.clone();
        for place in places {
            changed[*place] ^= 1;
        }
        done(fs::write(&scene.bundle, changed));
        let refused = scene.look("verify", &[]);
        let said = refused.words();
        assert!(!refused.status.success() && !said.contains("home/program"), "{said}");
        for word in named {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
}

/// Lies that only a list of its own could tell.
#[test]
fn a_bundle_that_lies_of_what_is_in_it_is_found_out() {
    let mut scene = Scene::asleep("programs");
    scene.export(&[]).expect_success("export");
    let whole = done(fs::read(&scene.bundle));
    let library = scene.home.join("library.so").display().to_string();
    let content = done(fs::read(&library));
    let place = whole.windows(64).position(|window| window == &content[content.len() - 64..]);
    let place = place.unwrap_or_else(|| panic!("the library is not in it"));
    let mut damaged = whole.clone();
    damaged[place] ^= 1;
    let all = |text: &str, from: &str, to: &str| {
        assert!(text.contains(from), "{from}: {text}");
        text.replace(from, to)
    };
    let (json, size) = (manifest(&whole), scene.job.specimen().image().metadata().map_or(0, |found| found.len()));
    let found: serde_json::Value = done(serde_json::from_str(&json));
    let hash = found["files"].as_array().into_iter().flatten().find(|file| file["path"] == library.as_str());
    let hash = hash.and_then(|file| file["hash"].as_str()).unwrap_or_default().to_owned();
    let id = found["id"].as_str().unwrap_or_default().to_owned();

    let mut refused = |bytes: &[u8], commands: &[&str], why: &str| {
        done(fs::write(&scene.bundle, bytes));
        for command in commands {
            let outcome = scene.look(command, &[]);
            let said = outcome.words();
            assert!(!outcome.status.success() && said.contains(why) && !said.contains("panicked"), "{why}: {said}");
        }
    };
    let other_id = with_manifest(&whole, &all(&json, &id, "anotherImageWithAnotherId"));
    refused(&other_id, &["inspect", "verify"], "its image is another one");
    let other_size = with_manifest(&whole, &all(&json, &format!("\"size\": {size},"), "\"size\": 4096,"));
    refused(&other_size, &["inspect", "verify"], "something is in it that it does not name");
    // Larger than all disks, and the header of the entry says the same.
    let huge = with_manifest(&whole, &all(&json, &format!("\"size\": {size},"), &format!("\"size\": {},", 1u64 << 62)));
    refused(&with_size(&huge, "image.dormouse", 1 << 62), &["inspect", "verify"], "it has been cut");
    // The same hash in other letters is another name for it, and no way around it.
    let shouted = with_manifest(&damaged, &all(&json, &hash, &hash.to_uppercase()));
    let shouted = with_name(&shouted, &format!("objects/{hash}"), &format!("objects/{}", hash.to_uppercase()));
    refused(&shouted, &["verify"], "home/library.so");
    refused(&with_entry(&whole, "image.dormouse", b'S'), &["inspect", "verify"], "no ordinary file");

    let coloured = with_manifest(&whole, &all(&json, &library, "/\\u001b[31mred"));
    done(fs::write(&scene.bundle, coloured));
    let told = scene.look("inspect", &[]);
    told.expect_success("inspect");
    assert!(!told.said.contains('\u{1b}') && told.said.contains("[31mred"), "{}", told.said);
}

/// The text that a bundle begins with.
fn manifest(bundle: &[u8]) -> String {
    let size = std::str::from_utf8(&bundle[124..135]).map(|digits| usize::from_str_radix(digits, 8));
    let size = done(done(size));
    String::from_utf8_lossy(&bundle[512..512 + size]).into_owned()
}

/// The bundle with another text that it begins with.
fn with_manifest(bundle: &[u8], text: &str) -> Vec<u8> {
    let rest = 512 + manifest(bundle).len().next_multiple_of(512);
    let padding = vec![0; text.len().next_multiple_of(512) - text.len()];
    let all = [&bundle[..512], text.as_bytes(), &padding, &bundle[rest..]].concat();
    with_size(&all, "dormouse-bundle.json", text.len() as u64)
}

/// The bundle where the header of this entry says another size.
fn with_size(bundle: &[u8], name: &str, size: u64) -> Vec<u8> {
    with_header(bundle, name, |header| {
        if size < 1 << 33 {
            header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        } else {
            header[124..136].copy_from_slice(&[&[0x80, 0, 0, 0][..], &size.to_be_bytes()].concat());
        }
    })
}

/// The bundle where this entry has another name, as long as before.
fn with_name(bundle: &[u8], name: &str, other: &str) -> Vec<u8> {
    with_header(bundle, name, |header| header[..other.len()].copy_from_slice(other.as_bytes()))
}

fn with_header(bundle: &[u8], name: &str, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut all = bundle.to_owned();
    let header = all.chunks_mut(512).find(|block| block.starts_with(&[name.as_bytes(), &[0]].concat()));
    let header = header.unwrap_or_else(|| panic!("{name} is not in it"));
    change(header);
    seal(header);
    all
}

/// Whoever made a bundle is trusted no more than with an image of his own.
#[test]
fn a_bundle_of_a_user_holds_nothing_that_is_roots() {
    let mut scene = Scene::asleep("programs");
    scene.export(&[]).expect_success("export");
    let who = Some(harness::specimen::ORDINARY);
    done(std::os::unix::fs::chown(&scene.bundle, who, who));
    // Beside the image itself it would be told that another one has its id.
    let refused = scene.thaw(&[]);
    let said = refused.words();
    assert!(!refused.status.success() && said.contains("another image has the same id"), "{said}");
    let image = scene.job.specimen().image();
    let aside = image.with_extension("aside");
    done(fs::rename(&image, &aside));
    let refused = scene.thaw(&[]);
    let said = refused.words();
    assert!(!refused.status.success() && said.contains("belongs to user"), "{said}");
    done(fs::rename(&aside, &image));
    let group = scene.group.clone();
    scene.job.specimen().assert_asleep(&group);
}

/// Packed by root, what a user has made is what a user has made.
#[test]
fn root_packs_an_image_of_a_user_as_the_users() {
    let mut scene = Scene::asleep("programs");
    let who = Some(harness::specimen::ORDINARY);
    done(std::os::unix::fs::chown(scene.job.specimen().image(), who, who));
    let group = scene.group.clone();
    let exported = scene.export(&[]);
    exported.expect_success("export");
    let refused = scene.thaw(&[]);
    let said = refused.words();
    assert!(!refused.status.success() && said.contains("belongs to user"), "{said}");
    scene.job.specimen().assert_asleep(&group);
}

#[test]
fn what_is_packed_is_what_was_kept() {
    let mut scene = Scene::asleep("programs");
    let library = scene.home.join("library.so");
    let old = done(fs::read(&library));
    done(done(File::create(&library)).write_all(b"another"));
    scene.export(&[]).expect_success("export");
    let mut bundle = Vec::new();
    done(done(File::open(&scene.bundle)).read_to_end(&mut bundle));
    let tail = &old[old.len() - 64..];
    assert!(bundle.windows(tail.len()).any(|window| window == tail), "the library is not in it");
}

/// What is mapped and not open any more is a working file as any other.
#[test]
fn what_is_mapped_and_closed_is_packed_on_request() {
    let _alone = harness::alone::with_images_of_root();
    let (mut job, home) = awake_with_mappings();
    let group = job.specimen().members();
    job.specimen().freeze_with(&["--keep", "files"]).expect_success("freeze");
    let bundle = home.join("all.dormouse-bundle");
    let mut scene = Scene { job, group, home: home.clone(), bundle };
    let stem = stem(&mut scene);
    done(fs::write(home.join("words"), "other words than those"));
    let exported = scene.export(&[]);
    exported.expect_success("export");
    assert!(exported.words().contains("that it has open or mapped are not in it"), "{}", exported.said);
    let packed = manifest(&done(fs::read(&scene.bundle)));
    assert!(!packed.contains("stage/words") && !packed.contains("stage/data"), "{packed}");
    done(fs::remove_file(&scene.bundle));
    scene.export(&["--working-files"]).expect_success("export");
    let packed = manifest(&done(fs::read(&scene.bundle)));
    assert!(packed.contains("stage/words") && packed.contains("stage/data"), "{packed}");
    for name in ["data", "words"] {
        done(fs::remove_file(home.join(name)));
    }
    for content in [b"old words".to_vec(), [&b"old data"[..], &[b'.'; 8184]].concat()] {
        done(fs::remove_file(kept(&content).unwrap_or_else(|| panic!("it is not kept"))));
    }
    done(fs::remove_file(scene.job.specimen().image()));
    scene.thaw(&[]).expect_success("thaw");
    let said = scene.end();
    assert!(said.contains("data b'old data' words b'old words'"), "{said}");
    let places = said.lines().find_map(|line| line.strip_prefix("where ")).unwrap_or_default();
    for place in places.split(' ') {
        assert!(place.starts_with("/var/lib/dormouse/files"), "{said}");
        done(fs::remove_file(place));
    }
    forget(&stem);
}
