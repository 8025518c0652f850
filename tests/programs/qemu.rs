//! A machine that qemu plays, without the help of the kernel (TCG): it goes on counting in the middle of its own time.

use std::fs::OpenOptions;
use std::os::unix::fs::chown;
use std::process::Command;

use harness::{Job, User};

as_each_user!(goes_on_counting, goes_on_counting_on_its_disk);

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

/// The same, with each number written to the disk and read again: the line shows what came back.
fn sector_with_disk() -> String {
    let through_disk = r"    mov %cx, 0x8000
    pusha
    mov $0x0301, %ax
    call disk
    movw $0, 0x8000
    mov $0x0201, %ax
    call disk
    popa
    mov 0x8000, %ax
";
    let disk = r"disk:
    mov $2, %cx
    mov $0x80, %dx
    mov $0x8000, %bx
    int $0x13
    ret
.org 510
";
    let sector = SECTOR
        .replace("    mov %cx, %ax\n", through_disk)
        .replace("    mov %ax, %ds\n", "    mov %ax, %ds\n    mov %ax, %es\n");
    sector.replace(".org 510\n", disk)
}

/// The disk goes past the cache, through the kernel's own asynchronous input and output (io_submit).
fn goes_on_counting_on_its_disk(user: User) {
    count_in(user, &sector_with_disk(), "snapshot=off,cache.direct=on,aio=native");
}

fn goes_on_counting(user: User) {
    count_in(user, SECTOR, "snapshot=on,aio=threads");
}

fn count_in(user: User, sector: &str, options: &str) {
    let mut job = Job::start("qemu", user, |folder| {
        let link = "-Wl,-Ttext=0x7c00,--oformat=binary,--build-id=none";
        super::compile(
            folder,
            ("sector.s", sector),
            &["gcc", "-m32", "-nostdlib", "-static", "-no-pie", link, "-o", "disk", "sector.s"],
        );
        let disk = folder.join("disk");
        let file = OpenOptions::new().write(true).open(&disk);
        let made = file.and_then(|file| file.set_len(1 << 20)).and_then(|()| match user {
            User::Root => Ok(()),
            User::Ordinary => chown(&disk, Some(1000), Some(1000)),
        });
        made.unwrap_or_else(|error| panic!("{}: {error}", disk.display()));
        let mut command = Command::new("qemu-system-x86_64");
        command.args([
            "-accel", "tcg", "-m", "32", "-display", "none", "-monitor", "none", "-nic", "none", "-serial", "stdio",
        ]);
        command.args(["-drive", &format!("file=disk,format=raw,{options}")]);
        command
    });
    job.wait_for("03\n");
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", job.specimen().pid())).unwrap_or_default();
    assert_eq!(maps.contains("/[aio]"), options.contains("aio=native"), "{maps}");
    job.nap_often(3);
    let said = job.end();
    let counted: Vec<&str> = said.lines().collect();
    // The digit behind 9 is a colon.
    let wanted: Vec<String> = (1..=99).map(|number| format!("{number:02}")).chain([":0".to_owned()]).collect();
    assert_eq!(counted, wanted);
}
