//! The outputs of the items of one `for_each`, and how large the list of them gets.
//!
//! The sum is kept while they come in: a list that cannot be joined is known with the item that passes
//! the limit, before any further item is paid for. What is *not* here: what follows from that
//! (`decide::expand`).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::json;

/// What the items of one `for_each` have given so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ItemOutputs {
    values: BTreeMap<u32, (Arc<Value>, usize)>,
    bytes: usize,
}

impl ItemOutputs {
    /// Takes over an output, of which it may be known how many bytes it takes as JSON.
    pub fn put(&mut self, index: u32, output: Arc<Value>, bytes: Option<usize>) {
        let bytes = bytes.unwrap_or_else(|| json::canonical(&output).len());
        self.bytes = self.bytes.saturating_add(bytes);
        if let Some((_, before)) = self.values.insert(index, (output, bytes)) {
            self.bytes = self.bytes.saturating_sub(before);
        }
    }

    /// Null stands for an item that gave nothing.
    pub fn fill(&mut self, index: u32) {
        if !self.values.contains_key(&index) {
            self.put(index, Arc::default(), None);
        }
    }

    /// What an item gave.
    pub fn get(&self, index: u32) -> Option<&Arc<Value>> {
        self.values.get(&index).map(|(value, _)| value)
    }

    /// Lets go of what other items gave.
    pub fn retain(&mut self, keeps: impl Fn(u32) -> bool) {
        self.values.retain(|index, _| keeps(*index));
        self.bytes = self.values.values().map(|(_, bytes)| bytes).sum();
    }

    /// How many bytes the list of what is there takes as JSON.
    pub fn written(&self) -> usize {
        let commas = self.values.len().saturating_sub(1);
        self.bytes.saturating_add(commas).saturating_add(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_sum_is_the_length_of_the_list_as_json() {
        let mut outputs = ItemOutputs::default();
        assert_eq!(outputs.written(), "[]".len());
        outputs.put(0, Arc::new(json!("a\n")), None);
        outputs.put(2, Arc::new(json!({"b": [1, 2.5]})), Some(13));
        outputs.fill(1);
        outputs.fill(2);
        let list = r#"["a\n",null,{"b":[1,2.5]}]"#;
        assert_eq!(outputs.written(), list.len());
        outputs.put(0, Arc::new(json!(1)), None);
        outputs.retain(|index| index != 2);
        assert_eq!(outputs.written(), "[1,null]".len());
        assert_eq!(outputs.get(2), None);
    }
}
