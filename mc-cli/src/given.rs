//! JSON that is given on the command line, or in a file that is named there.

use std::path::Path;

use mc_core::json;
use serde_json::Value;

use crate::failure::Failure;

/// Reads JSON, or the file of it, `@FILE`; `what` is the argument that has it.
pub(crate) fn json(what: &str, text: &str) -> Result<Value, Failure> {
    let Some(path) = text.strip_prefix('@').map(Path::new) else {
        return json::parse(text.as_bytes()).map_err(|error| {
            Failure::usage(error.with_context("option", what))
                .with_next("give a JSON value in quotes, or @FILE")
        });
    };
    let bytes = std::fs::read(path).map_err(|error| Failure::file(&error, path))?;
    json::parse(&bytes).map_err(|error| Failure::content(error, path))
}
