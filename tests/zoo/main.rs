//! The zoo: programs that hold one kind of thing each, and know whether they still have it. `zoo NAME FOLDER` runs one.
//!
//! A program is a module with a function `hold`; to add one, write its file, its `mod` line here and its line in
//! `table.rs`. What a program says in its folder is told in [`stage`].
#![allow(clippy::panic, clippy::unnecessary_wraps)]

#[macro_use]
mod table;

mod advice;
mod affinity;
mod alarm;
mod anonymous;
mod asynchronous_io;
mod asynchronous_io_busy;
mod asynchronous_io_inherited;
mod autogroup;
mod blocked_reads;
mod borrowed_file;
mod borrowed_file_alone;
mod bpf_map;
mod bpf_program;
mod capabilities;
mod changed_root;
mod child_waits;
mod clear_child_tid;
mod clocks;
mod close_on_exec;
mod control_groups;
mod control_groups_of_threads;
mod controls;
mod copy_on_write;
mod core_dumped;
mod coredump_filter;
mod credentials;
mod deleted_directory;
mod deleted_executable;
mod deleted_mapping;
mod deny_write_execute;
mod descriptors;
mod devices;
mod directory;
mod directory_changes;
mod dispatch;
mod dispositions;
mod droppable;
mod dumpable;
mod epoll;
mod epoll_closed;
mod epoll_edges;
mod epoll_family;
mod epoll_waits;
mod eventfd;
mod exited_leader;
mod fanotify;
mod fanotify_borrowed;
mod fanotify_by_directory;
mod fanotify_decides;
mod fanotify_decides_aside;
mod fanotify_mounts;
mod fault_handler;
mod fifo;
mod filters;
mod forest;
mod futex_waits;
mod growing_stack;
mod guard_regions;
mod guards;
mod heap;
mod hierarchy;
mod huge_pages;
mod huge_pages_disabled;
mod huge_table_files;
mod huge_table_gigabyte;
mod huge_table_pages;
mod huge_table_segments;
mod huge_table_shared;
mod ia32;
mod ia32_mixed;
mod ia32_static;
mod inotify;
mod interrupted;
mod interval_expired;
mod interval_timers;
mod io_priority;
mod io_uring;
mod joined_thread;
mod kernel;
mod key_ring;
mod landlock;
mod lease_to_write;
mod leases;
mod limits;
mod linked_names;
mod locked;
mod locked_future;
mod locks;
mod mapping_names;
mod membarrier;
mod memfd;
mod memfd_huge;
mod memfd_seals;
mod memory;
mod memory_policy;
mod merged_memory;
mod message_queue;
mod message_queue_told;
mod message_queues;
mod multicast;
mod multipath;
mod multipath_connection;
mod names;
mod netlink;
mod netlink_queue;
mod network_options;
mod nice;
mod no_new_privileges;
mod odd_device;
mod odd_names;
mod opened_file;
mod orphans;
mod out_of_memory_score;
mod packet_ring;
mod packet_socket;
mod parent_death;
mod passed_descriptors;
mod passed_pidfd;
mod passed_sockets;
mod path_only;
mod pending_signals;
mod perf_event;
mod personality;
mod pidfd;
mod pidfd_outside;
mod pipe;
mod pipe_packets;
mod polls;
mod posix_timers;
mod private_file;
mod process_files;
mod process_files_outside;
mod process_memory;
mod protection_keys;
mod protections;
mod raw_socket;
mod registers;
mod regular_file;
mod reservation;
mod robust_list;
mod rseq;
mod scheduling;
mod scheduling_deadline;
mod scheduling_real_time;
mod sealed;
mod seccomp_filters;
mod seccomp_no_restart;
mod seccomp_notify;
mod seccomp_of_root;
mod seccomp_strict;
mod seccomp_together;
mod secret_memory;
mod securebits;
mod segments;
mod segments_apart;
mod segments_attached;
mod segments_removed;
mod selects;
mod semaphores;
mod semaphores_undone;
mod sessions;
mod shared_anonymous;
mod shared_descriptions;
mod shared_file;
mod shared_tables;
mod signal_frame;
mod signal_io;
mod signal_owner;
mod signal_waits;
mod signalfd;
mod signals;
mod sleeps;
mod socket_filter_extended;
mod socket_filters;
mod sockets;
mod stage;
mod stopped;
mod stray_place;
mod stray_socket;
mod stray_table;
mod stray_thread;
mod subreaper;
mod system_v_objects;
mod tcp_asking;
mod tcp_connected;
mod tcp_half_closed;
mod tcp_listening;
mod tcp_outside;
mod tcp_waiting;
mod tcp_waiting_data;
mod terminal;
mod terminal_ends;
mod terminal_queues;
mod terminal_session;
mod terminal_waits;
mod thread_credentials;
mod threads;
mod tile_registers;
mod timer_slack;
mod timerfd;
mod udp;
mod udp_queues;
mod umask;
mod unix_closed;
mod unix_connected;
mod unix_names;
mod unix_options;
mod unix_pairs;
mod unix_senders;
mod unix_waiting;
mod unix_waiting_data;
mod unlinked;
mod vdso;
mod virtual_console;
mod wait_for_stopped;
mod workers;
mod working_directory;
mod zombies;

use std::path::Path;

use stage::{Held, Stage};

type Program = fn(&mut Stage) -> Held;

macro_rules! find {
    ($($name:ident: $users:ident $(.$option:ident($($value:expr),*))*;)*) => {
        fn find(name: &str) -> Option<Program> {
            match name {
                $(stringify!($name) => Some($name::hold),)*
                _ => None,
            }
        }
    };
}
zoo!(find);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, name, folder] = arguments.as_slice() else {
        eprintln!("usage: zoo NAME FOLDER");
        std::process::exit(2);
    };
    let Some(program) = find(name) else {
        eprintln!("there is no program {name} in the zoo");
        std::process::exit(2);
    };
    match Stage::new(Path::new(folder)) {
        Ok(mut stage) => {
            let held = program(&mut stage);
            stage.finish(held);
        }
        Err(trouble) => eprintln!("{folder}: {trouble:?}"),
    }
}
