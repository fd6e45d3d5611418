//! How the rules look accounts up, and how one movement reaches every account of a path.
//!
//! What is *not* here: where accounts are kept; the sequencer keeps shared ones in one map and a
//! run's own ones in the run. Read `admission` next.

use std::collections::BTreeMap;

use super::{Account, AccountId, LedgerFault, Movement, Path};
use crate::time::Timestamp;

/// A lookup of accounts.
pub trait Books {
    /// The account; `None` is an account without limit that has counted nothing yet.
    fn account(&self, id: &AccountId) -> Option<&Account>;
}

/// A lookup of accounts that may be changed.
pub trait BooksMut: Books {
    /// Puts an account in its place.
    fn put(&mut self, id: &AccountId, account: Account);
}

impl Books for BTreeMap<AccountId, Account> {
    fn account(&self, id: &AccountId) -> Option<&Account> {
        self.get(id)
    }
}

impl BooksMut for BTreeMap<AccountId, Account> {
    fn put(&mut self, id: &AccountId, account: Account) {
        match self.get_mut(id) {
            Some(place) => *place = account,
            None => drop(self.insert(id.clone(), account)),
        }
    }
}

/// As [`post_at`], in accounts that count for ever.
///
/// # Errors
/// The first account's [`LedgerFault`]; then nothing has changed anywhere.
pub fn post(books: &mut dyn BooksMut, path: &Path, movement: &Movement) -> Result<(), LedgerFault> {
    post_at(books, path, Timestamp::EPOCH, movement)
}

/// Makes one movement, of what was reserved at a time, in every account of a path, or in none.
///
/// # Errors
/// The first account's [`LedgerFault`]; then nothing has changed anywhere.
pub fn post_at(
    books: &mut dyn BooksMut,
    path: &Path,
    at: Timestamp,
    movement: &Movement,
) -> Result<(), LedgerFault> {
    let empty = Account::default();
    let after: Vec<Account> = path
        .iter()
        .map(|id| books.account(id).unwrap_or(&empty).after_at(at, movement))
        .collect::<Result<_, _>>()?;
    for (id, account) in path.iter().zip(after) {
        books.put(id, account);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Amount;

    #[test]
    fn a_movement_that_one_account_cannot_make_reaches_none() {
        let agent = AccountId::Agent("a".parse().unwrap());
        let both: Path = [AccountId::Workspace, agent.clone()].into_iter().collect();
        let one: Path = [AccountId::Workspace].into_iter().collect();
        let call = Amount {
            calls: 1,
            ..Amount::ZERO
        };
        let mut books = BTreeMap::new();
        post(&mut books, &one, &Movement::Reserve(call)).unwrap();
        let before = books.clone();
        let fault = post(&mut books, &both, &Movement::Release(call));
        assert_eq!(fault, Err(LedgerFault::MoreThanReserved));
        assert_eq!(books, before);
        post(&mut books, &both, &Movement::Reserve(call)).unwrap();
        assert_eq!(books[&agent].reserved().calls, 1);
        assert_eq!(books[&AccountId::Workspace].reserved().calls, 2);
    }
}
