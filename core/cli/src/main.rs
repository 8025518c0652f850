//! The command `dormouse`.
fn main() {}
