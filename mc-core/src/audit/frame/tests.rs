//! Frames come back as they were, have one spelling, and never break their reader.

use proptest::prelude::*;

use super::*;
use crate::audit::testing::Log;
use crate::audit::wire::Reader;
use crate::error::Detail;
use crate::event::Record;

fn fault(frame: &[u8]) -> (u64, &'static str) {
    match decode(100, frame).unwrap_err().detail() {
        Some(Detail::Damaged {
            seq: Some(seq),
            reason,
        }) => (*seq, *reason),
        other => panic!("{other:?}"),
    }
}

/// The chunks of a frame: its head, then its events.
fn chunks(frame: &[u8]) -> Vec<Vec<u8>> {
    let mut reader = Reader::new(&frame[1..]);
    let mut chunks = Vec::new();
    while !reader.is_empty() {
        chunks.push(reader.counted().unwrap().to_vec());
        reader.u32().unwrap();
    }
    chunks
}

fn frame_of(chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut frame = vec![VERSION_1];
    for chunk in chunks {
        put_chunk(&mut frame, chunk);
    }
    frame
}

fn at_100(mut records: Vec<Record>) -> Vec<Record> {
    for (seq, record) in (100..).zip(&mut records) {
        record.seq = seq;
    }
    records
}

#[test]
fn a_frame_of_no_events_is_refused() {
    assert_eq!(encode(&[]), Vec::<u8>::new());
    assert_eq!(fault(&[]), (100, "frame_version"));
    assert_eq!(fault(&[0xf2, 0]), (100, "frame_version"));
    assert_eq!(fault(&frame_of(&[vec![0; 6]])), (100, "frame_table"));
}

#[test]
fn a_lying_count_makes_no_room() {
    let mut head = Vec::new();
    for value in [u64::MAX, 0, 0, u64::MAX] {
        crate::audit::wire::put_varint(&mut head, value);
    }
    assert_eq!(fault(&frame_of(&[head])), (100, "frame_table"));
    let mut length = vec![VERSION_1];
    crate::audit::wire::put_varint(&mut length, u64::MAX);
    assert_eq!(fault(&length), (100, "frame_length"));
}

#[test]
fn an_events_overhead_is_small() {
    let mut records = at_100(vec![crate::audit::testing::plain_record(); 100]);
    for (run_seq, record) in (0..).zip(&mut records) {
        record.run_seq = run_seq;
        record.facts = "{}".into();
    }
    // Flags, kind, length and facts make 5 bytes; the chunk's length and checksum make 5.
    assert!(encode(&records).len() <= 100 * 10 + 130);
}

proptest! {
    #[test]
    fn a_frame_comes_back_as_it_was(seed: u64, len in 1_u64..60) {
        let records = at_100(Log::random(seed, len).records);
        let frame = encode(&records);
        prop_assert_eq!(decode(100, &frame).unwrap(), records);
    }

    #[test]
    fn a_flipped_byte_is_found_at_its_event(seed: u64, len in 1_u64..20, pick: u64, flip in 1_u8..) {
        let mut frame = encode(&Log::random(seed, len).records);
        let place = usize::try_from(pick).unwrap() % frame.len();
        let mut event = 0;
        let mut reader = Reader::new(&frame[1..]);
        while !reader.is_empty() {
            reader.counted().unwrap();
            reader.u32().unwrap();
            if frame.len() - reader.len() > place {
                break;
            }
            event += 1;
        }
        frame[place] ^= flip;
        // Chunk 0 is the head: without it already the first event cannot be read.
        prop_assert_eq!(fault(&frame).0, 100 + u64::try_from(event).unwrap().saturating_sub(1));
    }

    #[test]
    fn a_cut_or_longer_frame_is_found_at_its_event(seed: u64, len in 1_u64..12) {
        let frame = encode(&Log::random(seed, len).records);
        // Every cut of a long frame would take a minute; the seed draws which ones are tried.
        let first = usize::try_from(seed % 11).unwrap();
        for cut in (first..frame.len()).step_by(11) {
            prop_assert!(fault(&frame[..cut]).0 < 100 + len);
        }
        let longer = [&frame[..], &[0]].concat();
        prop_assert_eq!(fault(&longer), (100 + len, "frame_length"));
    }

    #[test]
    fn what_decodes_is_spelled_the_one_way(
        seed: u64, len in 1_u64..12, edits in prop::collection::vec((any::<u64>(), any::<u64>(), 0_u8..4, any::<u8>()), 1..4)
    ) {
        let mut chunks = chunks(&encode(&Log::random(seed, len).records));
        for (which, place, deed, byte) in edits {
            let which = usize::try_from(which).unwrap() % chunks.len();
            edit(&mut chunks[which], place, (deed, byte));
        }
        let frame = frame_of(&chunks);
        if let Ok(records) = decode(100, &frame) {
            prop_assert_eq!(encode(&records), frame);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(decode(u64::MAX, &bytes).is_err());
        let tagged = [&[VERSION_1][..], &bytes].concat();
        let _ = decode(0, &tagged);
        let _ = decode(0, &frame_of(std::slice::from_ref(&bytes)));
        let _ = decode(0, &frame_of(&[vec![1, 0, 0, 0, 0, 0], bytes]));
    }
}

fn edit(chunk: &mut Vec<u8>, place: u64, (deed, byte): (u8, u8)) {
    let place = usize::try_from(place).unwrap() % (chunk.len() + 1);
    match deed {
        0 => chunk.insert(place, byte),
        1 => chunk.truncate(place),
        2 if place < chunk.len() => {
            chunk.remove(place);
        }
        _ if place < chunk.len() => chunk[place] = byte,
        _ => chunk.push(byte),
    }
}
