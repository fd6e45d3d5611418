//! The set of accounts that a hold touches.
//!
//! It is a set, not a chain: an agent's account cuts across workflows. Read `books` next.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::AccountId;

/// Accounts, sorted and each once: an account named twice must not be charged twice.
///
/// Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "Vec<AccountId>", into = "Vec<AccountId>")]
pub struct Path(Arc<[AccountId]>);

impl Path {
    /// The accounts, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, AccountId> {
        self.0.iter()
    }

    /// How many accounts there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the account is one of them.
    pub fn contains(&self, id: &AccountId) -> bool {
        self.0.binary_search(id).is_ok()
    }

    /// Whether the two have an account in common.
    pub fn shares_with(&self, other: &Self) -> bool {
        self.iter().any(|id| other.contains(id))
    }

    /// The accounts of both.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.iter().chain(other).cloned().collect()
    }
}

impl Default for Path {
    fn default() -> Self {
        Self(Arc::from([]))
    }
}

impl From<Vec<AccountId>> for Path {
    fn from(mut ids: Vec<AccountId>) -> Self {
        ids.sort_unstable();
        ids.dedup();
        Self(Arc::from(ids))
    }
}

impl From<Path> for Vec<AccountId> {
    fn from(path: Path) -> Self {
        path.0.to_vec()
    }
}

impl FromIterator<AccountId> for Path {
    fn from_iter<I: IntoIterator<Item = AccountId>>(ids: I) -> Self {
        Self::from(ids.into_iter().collect::<Vec<_>>())
    }
}

impl<'a> IntoIterator for &'a Path {
    type Item = &'a AccountId;
    type IntoIter = std::slice::Iter<'a, AccountId>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(name: &str) -> AccountId {
        AccountId::Agent(name.parse().unwrap())
    }

    #[test]
    fn an_account_named_twice_is_in_the_path_once() {
        let path: Path = [agent("b"), AccountId::Workspace, agent("b")]
            .into_iter()
            .collect();
        assert_eq!(
            path.iter().cloned().collect::<Vec<_>>(),
            [AccountId::Workspace, agent("b")]
        );
        assert_eq!((path.len(), path.is_empty()), (2, false));
    }

    #[test]
    fn a_path_read_from_json_is_sorted_and_has_no_duplicates() {
        let path: Path = serde_json::from_str(r#"["agent:b","workspace","agent:b"]"#).unwrap();
        assert_eq!(
            serde_json::to_string(&path).unwrap(),
            r#"["workspace","agent:b"]"#
        );
    }

    #[test]
    fn paths_share_what_is_in_both() {
        let path = |names: &[&str]| names.iter().map(|name| agent(name)).collect::<Path>();
        assert!(path(&["a", "b"]).shares_with(&path(&["b", "c"])));
        assert!(!path(&["a"]).shares_with(&path(&["b"])));
        assert_eq!(
            path(&["a", "b"]).union(&path(&["b", "c"])),
            path(&["a", "b", "c"])
        );
    }
}
