//! Where an image comes from.

use std::ffi::OsStr;

use nix::sys::utsname::UtsName;

use crate::resource::origin::Origin;
use crate::survey::collect::ProcessFacts;

/// This machine, now.
pub fn here(processes: &[ProcessFacts]) -> Origin {
    let system = nix::sys::utsname::uname();
    let text = |part: fn(&UtsName) -> &OsStr| {
        system.as_ref().map(|system| part(system).to_string_lossy().into_owned()).unwrap_or_default()
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Origin {
        created: now.as_secs(),
        kernel: text(UtsName::release),
        machine: text(UtsName::machine),
        host: text(UtsName::nodename),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command: processes.first().map(command_of).unwrap_or_default(),
        page_size: crate::image::PAGE as u32,
        processor_features: crate::kernel::processor::features(),
        id: std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default().trim().replace('-', ""),
    }
}

fn command_of(process: &ProcessFacts) -> Vec<String> {
    let arguments = crate::proc::read(process.pid, "cmdline").unwrap_or_default();
    let arguments: Vec<_> =
        arguments.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect();
    match arguments.split_last() {
        Some((last, rest)) if last.is_empty() => rest.to_vec(),
        _ => arguments,
    }
}
