//! Groups that are frozen under one kernel and thawed under another, on one processor and on another, in virtual machines.
//!
//! The machines are made here from what Debian packages: kernels of two series, busybox, Python, Java, kexec. On a Debian 12
//! or later the tests need: qemu-system-x86 busybox-static kexec-tools e2fsprogs xz-utils gcc libc6-dev python3
//! default-jre-headless dbus systemd libpam-systemd; the kernels are downloaded with apt-get and unpacked into `target/kernels`, not installed. No
//! privilege is needed.
//!
//! | module | what it is |
//! |---|---|
//! | `kernel` | a Debian kernel, downloaded and unpacked, and the drivers out of it |
//! | `archive` | the initial file system that a kernel boots with |
//! | `system` | the read-only disk that all machines share |
//! | `systemd` | systemd on that disk, for the boots that have it |
//! | `machine` | a machine with its own disk; a boot that runs one script |
//! | `evidence` | the logs of the workloads, recomputed |
//! | `guest/` | what runs inside: the first process, and the words that the scripts are written with (`workbench`) |
//! | `workloads/` | the programs that are frozen |
//!
//! The tests take minutes, so they are built only with the feature `kernels`:
//! `cargo build -p dormouse-cli && cargo nextest run -p dormouse-tests --features kernels --test kernels`.

mod archive;
mod evidence;
mod failure;
mod kernel;
mod machine;
mod system;
mod systemd;

mod boots;
mod bundle;
mod clocks;
mod copies;
mod kexec;
mod logout;
mod processors;
mod service;
mod session;
mod upgrade;
