//! What a filter of system calls answers: classic BPF over `struct seccomp_data`, as seccomp(2) and
//! Documentation/networking/filter.rst define it.

/// A system call: `struct seccomp_data` in words of 32 bits.
pub type Data = [u32; 16];

/// Of which machine a system call is, for filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// This one.
    Own,
    /// That of 32-bit programs on x86-64.
    Ia32,
}

/// `struct seccomp_data` of a call.
pub fn call(machine: Machine, number: i64, instruction: u64, arguments: [u64; 6]) -> Data {
    const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
    const AUDIT_ARCH_AARCH64: u32 = 0xc000_00b7;
    const AUDIT_ARCH_I386: u32 = 0x4000_0003;
    let mut data = [0; 16];
    data[0] = number as u32;
    data[1] = match machine {
        Machine::Ia32 => AUDIT_ARCH_I386,
        Machine::Own if cfg!(target_arch = "aarch64") => AUDIT_ARCH_AARCH64,
        Machine::Own => AUDIT_ARCH_X86_64,
    };
    for (at, word) in [instruction].iter().chain(&arguments).enumerate() {
        data[2 + 2 * at] = *word as u32;
        data[3 + 2 * at] = (*word >> 32) as u32;
    }
    data
}

struct Instruction {
    code: u16,
    if_true: usize,
    if_false: usize,
    constant: u32,
}

impl Instruction {
    fn at(program: &[u8], place: usize) -> Option<Self> {
        let bytes = program.get(place.checked_mul(8)?..)?.get(..8)?;
        Some(Self {
            code: u16::from_le_bytes([bytes[0], bytes[1]]),
            if_true: bytes[2].into(),
            if_false: bytes[3].into(),
            constant: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        })
    }
}

/// The answer of a filter, SECCOMP_RET_*. None: it is no program that the kernel would have taken.
pub fn run(program: &[u8], data: &Data) -> Option<u32> {
    let (mut accumulator, mut index, mut memory) = (0_u32, 0_u32, [0_u32; 16]);
    let mut next = 0;
    loop {
        let instruction = Instruction::at(program, next)?;
        next += 1;
        let constant = instruction.constant;
        let operand = if instruction.code & 0x08 == 0 { constant } else { index };
        let place = constant as usize;
        match instruction.code {
            // BPF_LD, BPF_LDX: a word of the data, its length, a constant, a word of memory; BPF_ST, BPF_STX.
            0x20 if constant.is_multiple_of(4) => accumulator = *data.get(place / 4)?,
            0x80 => accumulator = size_of::<Data>() as u32,
            0x81 => index = size_of::<Data>() as u32,
            0x00 => accumulator = constant,
            0x01 => index = constant,
            0x60 => accumulator = *memory.get(place)?,
            0x61 => index = *memory.get(place)?,
            0x02 => *memory.get_mut(place)? = accumulator,
            0x03 => *memory.get_mut(place)? = index,
            // BPF_RET, BPF_MISC, BPF_JMP.
            0x06 => return Some(constant),
            0x16 => return Some(accumulator),
            0x07 => index = accumulator,
            0x87 => accumulator = index,
            0x05 => next += place,
            code if code & 0x07 == 0x05 => {
                let holds = compare(code & 0xf0, accumulator, operand)?;
                next += if holds { instruction.if_true } else { instruction.if_false };
            }
            code if code & 0x07 == 0x04 => accumulator = calculate(code & 0xf0, accumulator, operand)?,
            _ => return None,
        }
    }
}

fn compare(how: u16, accumulator: u32, operand: u32) -> Option<bool> {
    Some(match how {
        0x10 => accumulator == operand,
        0x20 => accumulator > operand,
        0x30 => accumulator >= operand,
        0x40 => accumulator & operand != 0,
        _ => return None,
    })
}

fn calculate(how: u16, accumulator: u32, operand: u32) -> Option<u32> {
    Some(match how {
        0x00 => accumulator.wrapping_add(operand),
        0x10 => accumulator.wrapping_sub(operand),
        0x20 => accumulator.wrapping_mul(operand),
        // The kernel answers 0 where an index of 0 divides, and ends the program so.
        0x30 => accumulator.checked_div(operand).unwrap_or(0),
        0x40 => accumulator | operand,
        0x50 => accumulator & operand,
        0x60 => accumulator.wrapping_shl(operand),
        0x70 => accumulator.wrapping_shr(operand),
        0x80 => accumulator.wrapping_neg(),
        0xa0 => accumulator ^ operand,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOW: u32 = 0x7fff_0000;
    const KILL: u32 = 0x8000_0000;

    fn program(instructions: &[(u16, u8, u8, u32)]) -> Vec<u8> {
        let bytes = |(code, yes, no, constant): &(u16, u8, u8, u32)| {
            [&code.to_le_bytes()[..], &[*yes, *no], &constant.to_le_bytes()].concat()
        };
        instructions.iter().flat_map(bytes).collect()
    }

    #[test]
    fn a_filter_answers_by_number_and_argument() {
        // Number 5 is allowed, and number 7 where the lower half of its second argument has the bit 4.
        let program = program(&[
            (0x20, 0, 0, 4),
            (0x15, 0, 7, 0xc000_003e),
            (0x20, 0, 0, 0),
            (0x15, 4, 0, 5),
            (0x15, 0, 4, 7),
            (0x20, 0, 0, 24),
            (0x54, 0, 0, 0xff),
            (0x45, 0, 1, 4),
            (0x06, 0, 0, ALLOW),
            (0x06, 0, 0, KILL),
        ]);
        let answer = |number, argument| run(&program, &call(Machine::Own, number, 0, [0, argument, 0, 0, 0, 0]));
        assert_eq!((answer(5, 0), answer(6, 0)), (Some(ALLOW), Some(KILL)));
        assert_eq!((answer(7, 0x1_0000_0006), answer(7, 0x4_0000_0003)), (Some(ALLOW), Some(KILL)));
    }

    #[test]
    fn memory_index_and_arithmetic_are_what_they_are_in_the_kernel() {
        let calculated = program(&[
            (0x00, 0, 0, 40),
            (0x02, 0, 0, 3),
            (0x01, 0, 0, 2),
            (0x0c, 0, 0, 0),
            (0x07, 0, 0, 0),
            (0x60, 0, 0, 3),
            (0x1c, 0, 0, 0),
            (0x84, 0, 0, 0),
            (0x64, 0, 0, 16),
            (0x16, 0, 0, 0),
        ]);
        assert_eq!(run(&calculated, &[0; 16]), Some(2 << 16));
        assert_eq!(run(&program(&[(0x80, 0, 0, 0), (0x16, 0, 0, 0)]), &[0; 16]), Some(64));
    }

    #[test]
    fn what_is_no_program_has_no_answer() {
        assert_eq!(run(&[], &[0; 16]), None);
        assert_eq!(run(&program(&[(0x20, 0, 0, 64), (0x16, 0, 0, 0)]), &[0; 16]), None);
        assert_eq!(run(&program(&[(0x05, 0, 0, u32::MAX)]), &[0; 16]), None);
        assert_eq!(run(&program(&[(0xff, 0, 0, 0)]), &[0; 16]), None);
    }
}
