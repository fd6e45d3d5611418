//! A policy inside JSON, as the text of its canonical bytes: so it keeps its hash.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serializer};

use super::Policy;

pub(crate) fn serialize<S: Serializer>(policy: &Policy, to: S) -> Result<S::Ok, S::Error> {
    let bytes = policy.to_canonical();
    let text = std::str::from_utf8(bytes).map_err(serde::ser::Error::custom)?;
    to.serialize_str(text)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Policy, D::Error> {
    let text = Cow::<'de, str>::deserialize(from)?;
    Policy::from_canonical(text.as_bytes()).map_err(serde::de::Error::custom)
}
