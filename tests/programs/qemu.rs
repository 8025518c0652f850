//! A machine that qemu plays, without the help of the kernel (TCG): it goes on counting in the middle of its own time.

use std::process::Command;

use harness::{Job, User};

as_each_user!(goes_on_counting);

/// A boot sector that writes a line for each tick of its clock, a hundred of them, and then switches the machine off.
const SECTOR: &str = r"
.code16
.globl _start
_start:
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %ss
    mov $0x7c00, %sp
    sti
    mov $100, %bx
    xor %cx, %cx
line:
    mov 0x46c, %dx
wait:
    hlt
    cmp %dx, 0x46c
    je wait
    inc %cx
    mov %cx, %ax
    mov $10, %dl
    div %dl
    push %ax
    add $'0', %al
    call put
    pop %ax
    mov %ah, %al
    add $'0', %al
    call put
    mov $'\n', %al
    call put
    dec %bx
    jnz line
    mov $0x604, %dx
    mov $0x2000, %ax
    out %ax, %dx
    hlt
put:
    push %dx
    mov $0x3f8, %dx
    out %al, %dx
    pop %dx
    ret
.org 510
.word 0xaa55
";

fn goes_on_counting(user: User) {
    let mut job = Job::start("qemu", user, |folder| {
        let link = "-Wl,-Ttext=0x7c00,--oformat=binary,--build-id=none";
        super::compile(
            folder,
            ("sector.s", SECTOR),
            &["gcc", "-m32", "-nostdlib", "-static", "-no-pie", link, "-o", "disk", "sector.s"],
        );
        let mut command = Command::new("qemu-system-x86_64");
        command.args([
            "-accel", "tcg", "-m", "32", "-display", "none", "-monitor", "none", "-nic", "none", "-serial", "stdio",
        ]);
        command.args(["-drive", "file=disk,format=raw,snapshot=on,aio=threads"]);
        command
    });
    job.wait_for("03\n");
    job.nap_often(3);
    let said = job.end();
    let counted: Vec<&str> = said.lines().collect();
    // The digit behind 9 is a colon.
    let wanted: Vec<String> = (1..=99).map(|number| format!("{number:02}")).chain([":0".to_owned()]).collect();
    assert_eq!(counted, wanted);
}
