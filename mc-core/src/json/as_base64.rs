//! Bytes inside JSON, as base64: `#[serde(with = "crate::json::as_base64")]`.
//!
//! What is *not* here: events as they are exported, which have their own encoder (`audit::export`).

use std::borrow::Cow;
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::{Deserialize, Deserializer, Serializer};

/// Writes bytes as base64.
///
/// # Errors
/// What the serializer says.
pub fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&BASE64_STANDARD.encode(bytes))
}

/// Reads them back.
///
/// # Errors
/// What the deserializer says; text that is not base64.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<[u8]>, D::Error> {
    let text = Cow::<'de, str>::deserialize(from)?;
    let bytes = BASE64_STANDARD.decode(&*text);
    bytes.map(Arc::from).map_err(serde::de::Error::custom)
}
