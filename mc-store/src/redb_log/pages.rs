//! Long reads in short transactions.
//!
//! A transaction that is open keeps every page that it may look at, and the file grows by what is
//! written meanwhile. However much is asked for, one transaction reads a page of events; the log only
//! grows at its end, so that pages fit together. What is *not* here: how a page is read (`reads`).

use std::future::Future;

use mc_core::error::Result;
use mc_core::event::Record;

/// The most events that one transaction reads.
pub(super) const AT_A_TIME: usize = 256;

/// Reads up to `limit` events from a place on, page by page. `at` says where an event stands.
pub(super) async fn read_in_pages<F, Fut>(
    from: u64,
    limit: usize,
    at: impl Fn(&Record) -> u64,
    page: F,
) -> Result<Vec<Record>>
where
    F: Fn(u64, usize) -> Fut,
    Fut: Future<Output = Result<Vec<Record>>>,
{
    let (mut out, mut next) = (Vec::new(), from);
    while out.len() < limit {
        let most = (limit - out.len()).min(AT_A_TIME);
        let records = page(next, most).await?;
        let last = records.len() < most;
        next = records
            .last()
            .map_or(next, |record| at(record).saturating_add(1));
        out.extend(records);
        if last {
            break;
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::super::tests::plain_event;
    use super::*;

    /// Reads from a log of so many events: what came, and what each transaction was asked for.
    fn read(events: u64, from: u64, limit: usize) -> (Vec<u64>, Vec<(u64, usize)>) {
        let asked = RefCell::new(Vec::new());
        let page = |next: u64, most: usize| {
            asked.borrow_mut().push((next, most));
            let records = (next..events).take(most).map(plain_event).collect();
            std::future::ready(Ok(records))
        };
        let reading = read_in_pages(from, limit, |record| record.seq, page);
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let records = runtime.unwrap().block_on(reading).unwrap();
        let seqs = records.iter().map(|record| record.seq).collect();
        (seqs, asked.into_inner())
    }

    #[test]
    fn however_much_is_asked_for_no_transaction_reads_more_than_a_page() {
        let (seqs, asked) = read(600, 10, usize::MAX);
        assert_eq!(seqs, (10..600).collect::<Vec<_>>());
        assert_eq!(asked, [(10, 256), (266, 256), (522, 256)]);
    }

    #[test]
    fn a_limit_is_kept_across_pages() {
        let (seqs, asked) = read(600, 0, 300);
        assert_eq!(seqs.len(), 300);
        assert_eq!(asked, [(0, 256), (256, 44)]);
        assert_eq!(read(600, 0, 0), (Vec::new(), Vec::new()));
        assert_eq!(read(256, 0, 500).1, [(0, 256), (256, 244)]);
        assert_eq!(read(3, 7, 5), (Vec::new(), vec![(7, 5)]));
    }
}
