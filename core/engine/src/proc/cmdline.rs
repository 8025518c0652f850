//! The arguments of a process: `/proc/PID/cmdline`, proc_pid_cmdline(5).

/// The words of a command line, the program's name first. Nothing for zombies and threads of the kernel.
///
/// A process may write over its arguments, setproctitle(3): then there is often one word that holds spaces, and NUL bytes
/// behind it, which are not taken for words.
pub fn words(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let text = &bytes[..end];
    text.split(|byte| *byte == 0).take(if text.is_empty() { 0 } else { usize::MAX })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proc::{self, ProcError};

    fn of(bytes: &[u8]) -> Vec<&[u8]> {
        words(bytes).collect()
    }

    #[test]
    fn words_stand_between_nul_bytes() {
        assert_eq!(of(b"sh\0-c\0\0a b\0"), [&b"sh"[..], b"-c", b"", b"a b"]);
        assert_eq!(of(b"nginx: master process\0\0\0\0"), [&b"nginx: master process"[..]]);
        assert_eq!(of(b"no end"), [&b"no end"[..]]);
        assert!(of(b"").is_empty() && of(b"\0\0").is_empty());
    }

    #[test]
    fn this_process_has_its_own() -> Result<(), ProcError> {
        use std::os::unix::ffi::OsStringExt;
        let me = dormouse_wire::Pid(std::process::id() as i32);
        let own: Vec<Vec<u8>> = std::env::args_os().map(OsStringExt::into_vec).collect();
        assert_eq!(of(&proc::read(me, "cmdline")?), own);
        Ok(())
    }

    proptest! {
        #[test]
        fn words_come_back(list in proptest::collection::vec("[^\0]{1,5}", 0..5)) {
            let bytes: Vec<u8> = list.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect();
            prop_assert_eq!(of(&bytes), list.iter().map(String::as_bytes).collect::<Vec<_>>());
        }
    }
}
