//! A place in a document, made into a JSON pointer only when a problem needs it.

use crate::json::escape_pointer;

/// A place: the parts from here up to the root.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At<'a> {
    parent: Option<&'a Self>,
    part: &'a str,
}

impl<'a> At<'a> {
    /// The whole document.
    pub(crate) const ROOT: At<'static> = At {
        parent: None,
        part: "",
    };

    /// The place of `part` inside this one.
    pub(crate) const fn child(&'a self, part: &'a str) -> Self {
        At {
            parent: Some(self),
            part,
        }
    }

    /// The place as a JSON pointer.
    pub(crate) fn pointer(&self) -> String {
        match self.parent {
            None => String::new(),
            Some(parent) => format!("{}/{}", parent.pointer(), escape_pointer(self.part)),
        }
    }
}
