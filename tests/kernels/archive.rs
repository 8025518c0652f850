//! A writer of cpio archives in the "newc" format, for the initial file system of a machine.
//!
//! Source: cpio(5) and Documentation/driver-api/early-userspace/buffer-format.rst.

/// An archive in memory.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds a directory; the ones above it must have been added.
    pub fn directory(&mut self, name: &str) {
        self.entry(name, 0o040755, &[]);
    }

    /// Adds a file that can be executed.
    pub fn file(&mut self, name: &str, data: &[u8]) {
        self.entry(name, 0o100755, data);
    }

    /// Ends the archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, data: &[u8]) {
        self.entries += 1;
        let (inode, links, length, name_length) = (self.entries, 1, data.len(), name.len() + 1);
        self.bytes.extend_from_slice(
            format!(
                "070701{inode:08x}{mode:08x}{0:08x}{0:08x}{links:08x}{0:08x}{length:08x}\
                 {0:08x}{0:08x}{0:08x}{0:08x}{name_length:08x}{0:08x}",
                0
            )
            .as_bytes(),
        );
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(data);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}
