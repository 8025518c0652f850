//! The zoo's table: one line a program. Its name is that of its module in `main.rs`; then come the users that run it
//! (`root`, `user` or `both`) and what the harness must know about it (`harness::Program`).
//!
//! This file is included twice: by `main.rs`, to find a program, and by the tests, to run each of them.

macro_rules! zoo {
    ($each:ident) => {
        $each! {
            anonymous: both;
            private_file: both;
            shared_file: both;
            shared_anonymous: both;
            memfd: both;
            heap: both;
            guards: both;
            eventfd: both;
            pipe: both;
            regular_file: both;
            capabilities: root;
            zombies: both;
            sleeps: both;
            pending_signals: both;
            threads: both;
            growing_stack: both;
            protections: both;
            advice: both;
            locked: both;
            locked_future: both;
            deleted_mapping: both;
            copy_on_write: both;
            mapping_names: both .may_lack();
            protection_keys: both .may_lack();
            deny_write_execute: both .may_lack();
            huge_pages: both;
            coredump_filter: both;
            reservation: both;
            vdso: both;
            credentials: root;
            securebits: root;
            no_new_privileges: both;
            dumpable: both;
            limits: both;
            nice: both;
            scheduling: both;
            scheduling_real_time: root .may_lack();
            affinity: both .may_lack();
            io_priority: both;
            out_of_memory_score: both;
            personality: both;
            parent_death: both;
            subreaper: both;
            timer_slack: both;
            names: both;
            sessions: both;
            umask: both;
            working_directory: both;
            changed_root: root;
            dispositions: both;
            interval_timers: both;
            alarm: both;
            posix_timers: both;
            robust_list: both;
            clear_child_tid: both;
            joined_thread: both;
            exited_leader: both;
            thread_credentials: root;
            registers: both;
            rseq: both .may_lack();
            polls: both;
            selects: both;
            epoll_waits: both;
            futex_waits: both;
            blocked_reads: both;
            child_waits: both;
            signal_waits: both;
            stopped: both .stopped();
            wait_for_stopped: both;
            directory: both;
            path_only: both;
            unlinked: both;
            linked_names: both;
            fifo: both;
            pipe_packets: both;
            devices: both;
            shared_descriptions: both;
            shared_tables: both;
            close_on_exec: both;
            signal_io: both;
            locks: both;
            timerfd: both.allow(&["fd/*/ticks"]);
            signalfd: both;
            epoll: both;
            epoll_closed: both;
            unix_pairs: both;
            unix_connected: both;
            unix_options: both;
            passed_descriptors: both;
            terminal: both;
            terminal_session: both;
            io_uring: both.refused("io_uring").may_lack();
            huge_table_pages: both.refused("hugetlb").may_lack();
            secret_memory: both.refused("secret").may_lack();
            fault_handler: both.refused("userfaultfd").may_lack();
            forest: both;
            deleted_directory: both.refused("deleted");
            tile_registers: both.may_lack();
        }
    };
}
