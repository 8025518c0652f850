//! The mappings, from proc_pid_smaps(5).

use std::fs;

use super::Collector;

/// One mapping, or several neighbours that look alike.
#[derive(Debug, PartialEq, Eq)]
struct Mapping {
    start: u64,
    end: u64,
    protection: String,
    offset: u64,
    /// Device and inode.
    object: String,
    path: String,
    flags: String,
    key: String,
}

impl Mapping {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(6, ' ');
        let (start, end) = words.next()?.split_once('-')?;
        let number = |text: &str| u64::from_str_radix(text, 16).ok();
        let (start, end, protection) = (number(start)?, number(end)?, words.next()?.to_owned());
        let offset = number(words.next()?)?;
        let object = format!("{}:{}", words.next()?, words.next()?);
        let path = words.next().unwrap_or_default().trim_start().to_owned();
        Some(Self { start, end, protection, offset, object, path, flags: String::new(), key: String::new() })
    }

    fn is_anonymous(&self) -> bool {
        self.object.ends_with(":0")
    }

    /// Whether `next` goes on where this ends, and is alike in all that a program can notice.
    fn continues_in(&self, next: &Self) -> bool {
        self.end == next.start
            && (self.is_anonymous() || self.offset + (self.end - self.start) == next.offset)
            && (&self.protection, &self.object, &self.path) == (&next.protection, &next.object, &next.path)
            && (&self.flags, &self.key) == (&next.flags, &next.key)
    }
}

/// Surveys the mappings of the collector's process.
pub(super) fn collect(collector: &mut Collector) {
    let Ok(text) = fs::read(format!("/proc/{}/smaps", collector.live)) else {
        return collector.add("mappings", "(not readable)");
    };
    for mapping in merged(&String::from_utf8_lossy(&text)) {
        let place = format!("mapping/{:x}-{:x}", mapping.start, mapping.end);
        let object =
            if mapping.is_anonymous() { "none".to_owned() } else { collector.numbers.of("object", &mapping.object) };
        let file = format!("{} offset {:x} object {object}", mapping.path, mapping.offset);
        collector.add(format!("{place}/file"), file);
        collector.add(format!("{place}/protection"), mapping.protection);
        collector.add(format!("{place}/flags"), mapping.flags);
        collector.add(format!("{place}/key"), mapping.key);
    }
}

/// The mappings in a text of smaps; neighbours that look alike are one.
fn merged(text: &str) -> Vec<Mapping> {
    let mut mappings: Vec<Mapping> = Vec::new();
    for line in text.lines() {
        match (line.split_once(':'), mappings.last_mut()) {
            // Whether a page was written since somebody cleared the bit is not of the program.
            (Some(("VmFlags", flags)), Some(last)) => {
                last.flags = flags.split_whitespace().filter(|flag| *flag != "sd").collect::<Vec<_>>().join(" ");
            }
            (Some(("ProtectionKey", key)), Some(last)) => key.trim().clone_into(&mut last.key),
            _ => mappings.extend(Mapping::parse(line)),
        }
    }
    let mut merged: Vec<Mapping> = Vec::new();
    for mapping in mappings {
        match merged.last_mut() {
            Some(last) if last.continues_in(&mapping) => last.end = mapping.end,
            _ => merged.push(mapping),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::merged;

    #[test]
    fn neighbours_that_look_alike_are_one() {
        let text = "1000-2000 rw-p 00000000 00:00 0 \nRss: 4 kB\nVmFlags: rd wr sd\n\
                    2000-3000 rw-p 00000000 00:00 0 \nVmFlags: rd wr\n\
                    3000-4000 r--p 00001000 fe:00 77 /a b\nVmFlags: rd\n\
                    4000-5000 r--p 00002000 fe:00 77 /a b\nVmFlags: rd\n";
        let mappings = merged(text);
        let ranges: Vec<_> =
            mappings.iter().map(|mapping| (mapping.start, mapping.end, mapping.path.as_str())).collect();
        assert_eq!(ranges, [(0x1000, 0x3000, ""), (0x3000, 0x5000, "/a b")]);
    }
}
