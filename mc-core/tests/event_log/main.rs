//! The golden bytes of version 1, by the audit module and by a second program.
//!
//! `golden` holds today's code to the files in `tests/golden/v1`; `independent` computes the same
//! files from `docs/event-log.md` alone. The files never change: there are logs out there.
#![expect(clippy::disallowed_methods, reason = "the test reads a file")]
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod golden;
mod independent;

use std::path::Path;

/// A golden file's text.
fn file(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// The bytes of each line of a file of hexadecimal lines.
fn hex_lines(name: &str) -> Vec<Vec<u8>> {
    file(name).lines().map(unhex).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .map(|c| u8::try_from(c.to_digit(16).unwrap()).unwrap())
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}
