//! What the processor can do, proc_cpuinfo(5).

/// The flags of the first processor, by their names in /proc/cpuinfo.
pub fn features() -> Vec<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags")?.trim_start().strip_prefix(':'));
    flags.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}
