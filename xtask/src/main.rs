//! Placeholder while the base is laid.
fn main() {}
