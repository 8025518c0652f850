//! What the kernel told a program at its start: `/proc/PID/auxv`, proc_pid_auxv(5) and getauxval(3).

use serde::{Deserialize, Serialize};

use super::text::Unreadable;

/// An entry of the auxiliary vector of a 64-bit process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AuxiliaryEntry {
    /// `AT_*`.
    pub key: u64,
    /// A number or an address in the process.
    pub value: u64,
}

/// The value of `/proc/PID/auxv` of a 64-bit process: what stands before `AT_NULL`. Empty for a process without memory.
pub fn parse(bytes: &[u8]) -> Result<Vec<AuxiliaryEntry>, Unreadable> {
    let (words, rest) = bytes.as_chunks::<16>();
    if !rest.is_empty() {
        return Err(Unreadable::line(format!("{} bytes", bytes.len()).as_bytes()));
    }
    Ok(words.iter().map(entry).take_while(|entry| entry.key != libc::AT_NULL).collect())
}

fn entry(words: &[u8; 16]) -> AuxiliaryEntry {
    let both = u128::from_ne_bytes(*words);
    let (low, high) = (both as u64, (both >> 64) as u64);
    if cfg!(target_endian = "little") {
        AuxiliaryEntry { key: low, value: high }
    } else {
        AuxiliaryEntry { key: high, value: low }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proc::{self, ProcError};

    #[test]
    fn entries_before_the_end_are_read() {
        let words: [u64; 6] = [libc::AT_PAGESZ, 4096, libc::AT_SYSINFO_EHDR, 0x7f9c_4697_e000, libc::AT_NULL, 7];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let expected = vec![
            AuxiliaryEntry { key: libc::AT_PAGESZ, value: 4096 },
            AuxiliaryEntry { key: libc::AT_SYSINFO_EHDR, value: 0x7f9c_4697_e000 },
        ];
        assert_eq!(parse(&bytes), Ok(expected));
        assert_eq!(parse(b""), Ok(Vec::new()));
        assert!(parse(&bytes[1..]).is_err());
    }

    #[test]
    fn the_vector_of_this_process_can_be_read() -> Result<(), ProcError> {
        let entries = proc::parsed(dormouse_wire::Pid(std::process::id() as i32), "auxv", parse)?;
        assert!(entries.iter().any(|entry| entry.key == libc::AT_ENTRY && entry.value != 0));
        Ok(())
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
