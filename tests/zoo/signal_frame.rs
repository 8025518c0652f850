//! A handler of a signal that is at work: what the signal has interrupted comes back with all of its registers when the handler returns.
//!
//! Where a file `another` lies in the folder by then, the frame is made as another processor would have left it, whose components lie 64
//! bytes further behind, and a file `made` says so: with a thaw that knows of such a processor it is right again.

use std::arch::asm;
use std::ffi::CString;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::kernel::{self, at, call};
use crate::memory::Mapping;
use crate::signals::handle;
use crate::stage::{Held, Stage, Trouble, cannot};

/// Where the software's words begin in the area, and the component behind the header.
const SOFTWARE: usize = 464;
const COMPONENTS: usize = 576;
const FURTHER: usize = 64;

static AT_WORK: AtomicBool = AtomicBool::new(false);
static STOP: AtomicBool = AtomicBool::new(false);
static FILES: OnceLock<[CString; 2]> = OnceLock::new();

extern "C" fn handler(_signal: i32, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    AT_WORK.store(true, Ordering::SeqCst);
    let mut asked = FILES.get();
    while !STOP.load(Ordering::SeqCst) {
        if let Some([another, made]) = asked
            && kernel::exists(another)
        {
            // SAFETY: the kernel has given this context, and behind its area there is room on the stack of handlers.
            unsafe { alter(context.cast()) };
            let _ = call(libc::SYS_mknodat, &[libc::AT_FDCWD as usize, made.as_ptr() as usize, 0o100_600, 0]);
            asked = None;
        }
        kernel::nap(Duration::from_millis(10));
    }
}

/// Makes the area as another processor would have left it.
unsafe fn alter(context: *mut libc::ucontext_t) {
    // SAFETY: the words are where the kernel puts them, asm/sigcontext.h, and all is moved within the mapping of the stack.
    unsafe {
        let area = (*context).uc_mcontext.fpregs.cast::<u8>();
        let word = |place: usize| area.add(place).cast::<[u8; 4]>();
        let length = u32::from_le_bytes(word(SOFTWARE + 16).read()) as usize;
        // With the word that is behind it.
        std::ptr::copy(area.add(COMPONENTS), area.add(COMPONENTS + FURTHER), length + 4 - COMPONENTS);
        area.add(COMPONENTS).write_bytes(0xee, FURTHER);
        for place in [SOFTWARE + 4, SOFTWARE + 16] {
            let before = u32::from_le_bytes(word(place).read());
            word(place).write((before + FURTHER as u32).to_le_bytes());
        }
    }
}

/// What is in a vector register behind a signal that comes while it has this.
#[target_feature(enable = "avx")]
fn interrupted(content: &[u8; 32]) -> [u8; 32] {
    let mut found = [0; 32];
    // SAFETY: the arrays are as long as the register; tgkill(2) takes numbers only.
    unsafe {
        asm!(
            "vmovdqu ymm9, [{content}]", "syscall", "vmovdqu [{found}], ymm9",
            content = in(reg) content.as_ptr(), found = in(reg) found.as_mut_ptr(),
            inlateout("rax") libc::SYS_tgkill => _, in("rdi") std::process::id(), in("rsi") kernel::tid(), in("rdx") libc::SIGUSR1,
            out("rcx") _, out("r11") _, out("ymm9") _,
        );
    }
    found
}

fn handled() -> Result<bool, Trouble> {
    let stack = Mapping::anonymous(16)?;
    // A page more than the kernel knows of: there the area of the other processor ends.
    let length = stack.length - 4096;
    call(libc::SYS_sigaltstack, &[at(&[stack.start, 0, length]), 0])?;
    let content: [u8; 32] = std::array::from_fn(|at| 0x40 + at as u8);
    // SAFETY: whoever starts this has asked whether the processor has it.
    Ok(unsafe { interrupted(&content) } == content)
}

pub fn hold(stage: &mut Stage) -> Held {
    if !is_x86_feature_detected!("avx") {
        return cannot("the processor has no AVX");
    }
    let name = |name: &str| CString::new(stage.path(name).to_string_lossy().as_bytes());
    let _ = FILES.set([name("another")?, name("made")?]);
    handle(libc::SIGUSR1, handler as *const () as usize, libc::SA_SIGINFO | libc::SA_ONSTACK, 0)?;
    let thread = thread::spawn(|| handled().ok());
    stage.wrong.holds("the handler is at work", kernel::until(|| AT_WORK.load(Ordering::SeqCst)));
    stage.ready_and_wait()?;
    stage.wrong.holds("it still is", !thread.is_finished());
    STOP.store(true, Ordering::SeqCst);
    stage.wrong.equal("the register behind it", thread.join().ok().flatten(), Some(true));
    Ok(())
}
