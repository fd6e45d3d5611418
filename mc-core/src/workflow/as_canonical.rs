//! A workflow inside JSON, as the text of its canonical bytes: so it keeps its hash.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serializer};

use super::Workflow;

pub(crate) fn serialize<S: Serializer>(workflow: &Arc<Workflow>, to: S) -> Result<S::Ok, S::Error> {
    let bytes = workflow.definition().to_canonical();
    let text = std::str::from_utf8(&bytes).map_err(serde::ser::Error::custom)?;
    to.serialize_str(text)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<Workflow>, D::Error> {
    let text = Cow::<'de, str>::deserialize(from)?;
    let workflow = Workflow::from_canonical(text.as_bytes());
    workflow.map(Arc::new).map_err(serde::de::Error::custom)
}
