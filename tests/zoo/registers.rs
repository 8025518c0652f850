//! Registers that live through the freeze: general ones, x87, SSE, AVX and AVX-512, each in a loop that never stores them.

use std::arch::asm;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::kernel;
use crate::stage::{Held, Stage};

/// Spins with known values in the registers until `stop` is set, and gives what it finds in them then.
fn general(stop: &AtomicBool) -> [u64; 6] {
    let mut found = [0x1111_u64, 0x2222, 0x3333, 0x4444, 0x5555, 0x6666];
    let [mut one, mut two, mut three, mut four, mut five, mut six] = found;
    // SAFETY: reads one byte until it is not zero; the registers are told to the compiler.
    unsafe {
        asm!("2:", "pause", "cmp byte ptr [{stop}], 0", "je 2b", stop = in(reg) stop.as_ptr(),
            inout("r8") one, inout("r9") two, inout("r10") three, inout("r11") four, inout("r12") five, inout("r13") six);
    }
    found = [one, two, three, four, five, six];
    found
}

macro_rules! vector_loop {
    ($name:ident, $bytes:literal, $feature:literal, $move:literal, $first:literal, $last:literal, $out_first:tt, $out_last:tt) => {
        /// As [`general`], for two vector registers.
        #[target_feature(enable = $feature)]
        fn $name(stop: &AtomicBool) -> ([u8; $bytes], [u8; $bytes]) {
            let (first, last) = (pattern::<$bytes>(3), pattern::<$bytes>(101));
            let (mut first_found, mut last_found) = ([0_u8; $bytes], [0_u8; $bytes]);
            // SAFETY: the arrays are as long as the registers; the registers are told to the compiler.
            unsafe {
                asm!(
                    concat!($move, " ", $first, ", [{a}]"), concat!($move, " ", $last, ", [{b}]"),
                    "2:", "pause", "cmp byte ptr [{stop}], 0", "je 2b",
                    concat!($move, " [{c}], ", $first), concat!($move, " [{d}], ", $last),
                    a = in(reg) first.as_ptr(), b = in(reg) last.as_ptr(), c = in(reg) first_found.as_mut_ptr(),
                    d = in(reg) last_found.as_mut_ptr(), stop = in(reg) stop.as_ptr(), out($out_first) _, out($out_last) _,
                );
            }
            (first_found, last_found)
        }
    };
}
vector_loop!(sse, 16, "sse2", "movdqu", "xmm1", "xmm15", "xmm1", "xmm15");
vector_loop!(avx, 32, "avx", "vmovdqu", "ymm2", "ymm14", "ymm2", "ymm14");
vector_loop!(avx512, 64, "avx512f", "vmovdqu64", "zmm3", "zmm31", "zmm3", "zmm31");

/// As [`general`], for a mask register and one of the x87 unit.
#[target_feature(enable = "avx512f")]
fn mask(stop: &AtomicBool) -> u16 {
    let mut found = 0xabcd_u32;
    // SAFETY: the registers are told to the compiler.
    unsafe {
        asm!("kmovw k5, {value:e}", "2:", "pause", "cmp byte ptr [{stop}], 0", "je 2b", "kmovw {value:e}, k5",
            value = inout(reg) found, stop = in(reg) stop.as_ptr(), out("k5") _);
    }
    found as u16
}

/// As [`general`], for the top of the x87 stack, its control word and MXCSR.
fn floating(stop: &AtomicBool) -> (f64, u16, u32) {
    let (value, mut found) = (1234.5678_f64, 0.0_f64);
    let (mut saved, mut control, mut mxcsr, mut saved_mxcsr) = (0_u16, 0x027f_u16, 0x7f80_u32, 0_u32);
    // SAFETY: the x87 stack is left as it was, and so are both control words.
    unsafe {
        asm!(
            "fnstcw [{saved}]", "stmxcsr [{saved_mxcsr}]", "fldcw [{control}]", "ldmxcsr [{mxcsr}]", "fld qword ptr [{value}]",
            "2:", "pause", "cmp byte ptr [{stop}], 0", "je 2b",
            "fstp qword ptr [{found}]", "fnstcw [{control}]", "stmxcsr [{mxcsr}]", "fldcw [{saved}]", "ldmxcsr [{saved_mxcsr}]",
            value = in(reg) &raw const value, found = in(reg) &raw mut found, stop = in(reg) stop.as_ptr(),
            saved = in(reg) &raw mut saved, control = in(reg) &raw mut control, mxcsr = in(reg) &raw mut mxcsr,
            saved_mxcsr = in(reg) &raw mut saved_mxcsr,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _, out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
        );
    }
    (found, control, mxcsr)
}

fn pattern<const N: usize>(seed: u8) -> [u8; N] {
    std::array::from_fn(|at| seed.wrapping_mul(31).wrapping_add((at as u8).wrapping_mul(7)))
}

fn two<const N: usize>() -> ([u8; N], [u8; N]) {
    (pattern(3), pattern(101))
}

pub fn hold(stage: &mut Stage) -> Held {
    let stop = Arc::new(AtomicBool::new(false));
    let mut threads: Vec<(&str, thread::JoinHandle<bool>)> = Vec::new();
    let mut start = |name, part: fn(&AtomicBool) -> bool| {
        let stop = Arc::clone(&stop);
        threads.push((name, thread::spawn(move || part(&stop))));
    };
    start("general", |stop| general(stop) == [0x1111, 0x2222, 0x3333, 0x4444, 0x5555, 0x6666]);
    start("x87 and control words", |stop| floating(stop) == (1234.5678, 0x027f, 0x7f80));
    // SAFETY: every x86-64 processor has SSE2.
    start("xmm", |stop| unsafe { sse(stop) } == two());
    if is_x86_feature_detected!("avx") {
        // SAFETY: the processor has it.
        start("ymm", |stop| unsafe { avx(stop) } == two());
    }
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has it.
        start("zmm", |stop| unsafe { avx512(stop) } == two());
        // SAFETY: the processor has it.
        start("mask", |stop| unsafe { mask(stop) } == 0xabcd);
    }
    kernel::nap(Duration::from_millis(50));
    stage.wrong.holds("no loop ends before it is told to", threads.iter().all(|(_, thread)| !thread.is_finished()));
    stage.ready_and_wait()?;
    stage.wrong.holds("all loops go on", threads.iter().all(|(_, thread)| !thread.is_finished()));
    kernel::nap(Duration::from_millis(100));
    stop.store(true, Ordering::SeqCst);
    for (name, thread) in threads {
        stage.wrong.equal(name, thread.join().ok(), Some(true));
    }
    Ok(())
}
