//! The registers of a thread: general ones, and the extended state (x87, SSE, AVX, AMX, protection keys) in the
//! processor's standard XSAVE format of whatever size.

// zoo: registers

use serde::{Deserialize, Serialize};

use dormouse_wire::Tid;

use crate::kernel::Answer;
use crate::kernel::ptrace::{self, GeneralRegisters};

/// A thread's registers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registers {
    /// General registers, with the number and answer of a call that the freeze interrupted.
    pub general: GeneralRegisters,
    /// The XSAVE area, without the zeros at its end.
    #[serde(with = "serde_bytes")]
    pub extended: Vec<u8>,
    /// Length of the area in bytes.
    pub extended_length: usize,
}

/// Reads the extended ones; the general ones were read when the thread stopped.
pub fn capture(thread: Tid, general: &GeneralRegisters) -> Answer<Registers> {
    let mut extended = ptrace::extended_registers(thread)?;
    let extended_length = extended.len();
    let used = extended.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    extended.truncate(used);
    extended.shrink_to_fit();
    Ok(Registers { general: *general, extended, extended_length })
}

/// Sets both; `general` are those of the record, as the thaw has made them fit.
pub fn restore(record: &Registers, general: &GeneralRegisters, thread: Tid) -> Answer<()> {
    let mut extended = record.extended.clone();
    extended.resize(record.extended_length.min(1 << 20), 0);
    ptrace::set_extended_registers(thread, &extended)?;
    ptrace::set_general_registers(thread, general)
}
