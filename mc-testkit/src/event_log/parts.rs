//! Parts: small ones in the frame, large ones as blobs.

use mc_core::error::ErrorKind;
use mc_core::event::{PartContent, PartRef};
use mc_core::id::Digest;

use super::Bench;
use crate::build::run_id;

const fn place(seq: u64, part: u16) -> PartRef {
    PartRef { seq, part }
}

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut block = Digest::ZERO;
    let mut out = Vec::with_capacity(len + 32);
    while out.len() < len {
        block = Digest::of(&[block.as_bytes()]);
        out.extend_from_slice(block.as_bytes());
    }
    out.truncate(len);
    out
}

pub(super) async fn small_and_large_parts_are_read_back(mut bench: Bench) {
    let sizes = [0, 1, 256, 257, 1_023, 4_000, 4_096, 5_000, 70_000, 200_000];
    for size in sizes {
        bench.story.event(run_id(1), "model_call.answered");
        bench.story.part(&noise(size)).part(&vec![b'x'; size]);
    }
    bench.append().await;
    bench.reopen().await;
    for (seq, size) in sizes.into_iter().enumerate() {
        let log = bench.log();
        let first = log.read_part(place(seq as u64, 0)).await.unwrap();
        assert_eq!(*first, *noise(size), "{size}");
        let second = log.read_part(place(seq as u64, 1)).await.unwrap();
        assert_eq!(*second, *vec![b'x'; size], "{size}");
    }
}

pub(super) async fn a_part_that_is_not_there_is_not_found(mut bench: Bench) {
    bench.story.event(run_id(1), "model_call.answered");
    bench.story.part(b"gone").part(b"here");
    let record = &mut bench.story.open_batch().records[0];
    record.parts[0].content = PartContent::Erased(Digest::of(&[b"gone"]));
    record.parts[0].salt = [0; 16];
    bench.append().await;
    for missing in [place(0, 0), place(0, 2), place(1, 0), place(u64::MAX, 0)] {
        let error = bench.log().read_part(missing).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{missing:?}");
    }
    assert_eq!(*bench.log().read_part(place(0, 1)).await.unwrap(), *b"here");
}

pub(super) async fn a_part_of_10_mb_comes_back(mut bench: Bench) {
    let bytes = noise(10_000_000);
    bench.story.event(run_id(1), "step.completed");
    bench.story.part(&bytes);
    bench.append().await;
    let read = bench.log().read_part(place(0, 0)).await.unwrap();
    assert!(*read == *bytes);
}

pub(super) async fn the_same_bytes_may_be_named_again(mut bench: Bench) {
    let bytes = noise(3_000);
    for n in [1, 1, 2] {
        for _ in 0..2 {
            bench.story.event(run_id(n), "model_call.asked");
            bench.story.part(&bytes);
        }
        bench.append().await;
    }
    for seq in 0..6 {
        assert_eq!(*bench.log().read_part(place(seq, 0)).await.unwrap(), *bytes);
    }
}

pub(super) async fn a_part_without_its_blob_is_refused(mut bench: Bench) {
    bench.story.event(run_id(1), "model_call.asked");
    bench.story.part(&noise(1_000));
    let mut batch = bench.story.batch();
    let blobs = std::mem::take(&mut batch.blobs);
    let refused = bench.log().append(bench.lease, batch.clone()).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(bench.log().head().await.unwrap().next_seq, 0);
    batch.blobs = blobs;
    bench.log().append(bench.lease, batch).await.unwrap();
}
