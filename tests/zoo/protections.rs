//! Every protection a page can have: read-only, write-only, executable, and code made by the program itself that runs.

use std::os::fd::AsRawFd;

use crate::kernel::call;
use crate::memory::{ANONYMOUS, Mapping, PAGE, READ_WRITE};
use crate::stage::{Held, Stage};

/// `mov eax, 1234; ret`.
const CODE: [u8; 6] = [0xb8, 0xd2, 0x04, 0, 0, 0xc3];

fn run(code: &Mapping) -> i32 {
    // SAFETY: the mapping begins with a function of no arguments that gives an int, in the C convention.
    let function: extern "C" fn() -> i32 = unsafe { std::mem::transmute(code.start) };
    function()
}

/// Whether the kernel can read a byte there on our behalf. Memory with PROT_EXEC alone it cannot, where the processor has
/// protection keys.
fn kernel_reads(address: usize) -> std::io::Result<bool> {
    let (_reader, writer) = std::io::pipe()?;
    match call(libc::SYS_write, &[writer.as_raw_fd() as usize, address, 1]) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EFAULT) => Ok(false),
        Err(error) => Err(error),
    }
}

pub fn hold(stage: &mut Stage) -> Held {
    let read_only = Mapping::anonymous(2)?;
    read_only.fill(1);
    read_only.protect(libc::PROT_READ)?;
    let write_only = Mapping::anonymous(2)?;
    write_only.fill(2);
    write_only.protect(libc::PROT_WRITE)?;
    let code = Mapping::anonymous(2)?;
    code.write(0, &CODE);
    code.protect(libc::PROT_READ | libc::PROT_EXEC)?;
    let execute_only = Mapping::anonymous(1)?;
    execute_only.write(0, &CODE);
    execute_only.protect(libc::PROT_EXEC)?;
    let all = Mapping::new(PAGE, READ_WRITE | libc::PROT_EXEC, ANONYMOUS, -1, 0)?;
    all.write(0, &CODE);
    let shared = Mapping::new(PAGE, READ_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0)?;
    shared.fill(3);
    shared.protect(libc::PROT_READ)?;
    let could_read = kernel_reads(execute_only.start)?;
    stage.keeps(|wrong| {
        wrong.gives("whether memory to be executed can be read", kernel_reads(execute_only.start), could_read);
        let found = [read_only, write_only, code, execute_only, all, shared].map(|mapping| mapping.letters());
        wrong.equal("protections", found, ["r--p", "-w-p", "r-xp", "--xp", "rwxp", "r--s"].map(str::to_owned));
        wrong.equal("read-only content", read_only.first_wrong_page(1), None);
        wrong.equal("shared content", shared.first_wrong_page(3), None);
        wrong.equal("code runs", [run(&code), run(&execute_only), run(&all)], [1234; 3]);
    })?;
    write_only.protect(READ_WRITE)?;
    stage.wrong.equal("write-only content", write_only.first_wrong_page(2), None);
    Ok(())
}
