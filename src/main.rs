//! The `cuelight` program.

fn main() {}
