//! The periods of windows over changes of clocks, ends of months and whole ranges of time.

use chrono::DateTime;
use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    Timestamp::from_unix_us(
        DateTime::parse_from_rfc3339(text)
            .unwrap()
            .timestamp_micros(),
    )
}

fn window(text: &str) -> Window {
    text.parse().unwrap()
}

/// The period at a time, as the times of its ends.
fn period(text: &str, now: &str) -> (String, String) {
    let period = window(text).period_at(at(now));
    let short = |at: Timestamp| at.to_string().replace(":00.000000Z", "Z");
    (short(period.start), short(period.end))
}

fn ends(start: &str, end: &str) -> (String, String) {
    (start.to_owned(), end.to_owned())
}

fn hours(text: &str, now: &str) -> u64 {
    let period = window(text).period_at(at(now));
    period.end.since(period.start).as_secs() / 3_600
}

#[test]
fn a_day_has_23_hours_when_clocks_go_forward_and_25_when_they_go_back() {
    for (zone, forward, back) in [
        (
            "America/New_York",
            "2027-03-14T17:00:00Z",
            "2027-11-07T17:00:00Z",
        ),
        (
            "Europe/Berlin",
            "2027-03-28T12:00:00Z",
            "2027-10-31T12:00:00Z",
        ),
    ] {
        let day = format!("day {zone}");
        assert_eq!(
            (hours(&day, forward), hours(&day, back)),
            (23, 25),
            "{zone}"
        );
    }
    assert_eq!(
        period("day America/New_York", "2027-03-14T17:00:00Z"),
        ends("2027-03-14T05:00Z", "2027-03-15T04:00Z")
    );
    assert_eq!(
        period("day Europe/Berlin", "2027-10-31T00:30:00Z"),
        ends("2027-10-30T22:00Z", "2027-10-31T23:00Z")
    );
}

#[test]
fn a_clock_that_moves_by_half_an_hour_makes_days_of_half_hours() {
    // Lord Howe: forward on 3 October, back on 4 April, by 30 minutes.
    assert_eq!(
        period("day Australia/Lord_Howe", "2027-04-04T00:00:00Z"),
        ends("2027-04-03T13:00Z", "2027-04-04T13:30Z")
    );
    assert_eq!(
        period("day Australia/Lord_Howe", "2027-10-03T00:00:00Z"),
        ends("2027-10-02T13:30Z", "2027-10-03T13:00Z")
    );
}

#[test]
fn a_boundary_that_clocks_skip_is_the_first_instant_behind_the_gap() {
    // At 02:00 clocks show 03:00.
    assert_eq!(
        period("day America/New_York +02:30", "2027-03-14T17:00:00Z"),
        ends("2027-03-14T07:00Z", "2027-03-15T06:30Z")
    );
    // Midnight itself is left out in Beirut on 28 March 2027.
    assert_eq!(
        period("day Asia/Beirut", "2027-03-28T12:00:00Z"),
        ends("2027-03-27T22:00Z", "2027-03-28T21:00Z")
    );
}

#[test]
fn a_boundary_that_comes_twice_is_the_first_of_the_two() {
    // 01:30 comes at 05:30 and at 06:30.
    assert_eq!(
        period("day America/New_York +01:30", "2027-11-07T06:00:00Z"),
        ends("2027-11-07T05:30Z", "2027-11-08T06:30Z")
    );
    // In Havana midnight comes twice: the hour behind it belongs to the new day both times.
    let first = period("day America/Havana", "2027-11-07T04:30:00Z");
    assert_eq!(first, period("day America/Havana", "2027-11-07T05:30:00Z"));
    assert_eq!(first, ends("2027-11-07T04:00Z", "2027-11-08T05:00Z"));
}

#[test]
fn a_day_that_a_place_left_out_has_no_period() {
    // Apia had no 30 December 2011.
    let before = period("day Pacific/Apia", "2011-12-30T09:59:00Z");
    let behind = period("day Pacific/Apia", "2011-12-30T10:00:00Z");
    assert_eq!(before, ends("2011-12-29T10:00Z", "2011-12-30T10:00Z"));
    assert_eq!(behind, ends("2011-12-30T10:00Z", "2011-12-31T10:00Z"));
}

#[test]
fn months_end_at_local_midnight_of_their_place() {
    for (zone, start, end) in [
        ("Pacific/Auckland", "2027-08-31T12:00Z", "2027-09-30T11:00Z"),
        ("Pacific/Apia", "2027-08-31T11:00Z", "2027-09-30T11:00Z"),
        ("Asia/Kolkata", "2027-08-31T18:30Z", "2027-09-30T18:30Z"),
    ] {
        let month = format!("month {zone}");
        assert_eq!(
            period(&month, "2027-09-15T00:00:00Z"),
            ends(start, end),
            "{zone}"
        );
    }
}

#[test]
fn a_month_without_its_anchor_begins_on_its_last_day() {
    assert_eq!(
        period("month:31 UTC", "2027-03-05T00:00:00Z"),
        ends("2027-02-28T00:00Z", "2027-03-31T00:00Z")
    );
    assert_eq!(
        period("month:30 UTC", "2028-02-29T12:00:00Z"),
        ends("2028-02-29T00:00Z", "2028-03-30T00:00Z")
    );
    assert_eq!(
        period("month:15 UTC", "2027-01-14T23:59:00Z"),
        ends("2026-12-15T00:00Z", "2027-01-15T00:00Z")
    );
}

#[test]
fn a_week_begins_on_its_day() {
    assert_eq!(
        period("week UTC", "2027-01-03T12:00:00Z"),
        ends("2026-12-28T00:00Z", "2027-01-04T00:00Z")
    );
    assert_eq!(
        period("week:sunday UTC", "2027-01-03T12:00:00Z"),
        ends("2027-01-03T00:00Z", "2027-01-10T00:00Z")
    );
}

#[test]
fn fixed_windows_follow_their_anchor_both_ways() {
    let fortnight = "fixed 14d 2027-01-04T09:00:00Z";
    assert_eq!(
        period(fortnight, "2027-01-18T08:59:00Z"),
        ends("2027-01-04T09:00Z", "2027-01-18T09:00Z")
    );
    assert_eq!(
        period(fortnight, "2027-01-04T08:59:00Z"),
        ends("2026-12-21T09:00Z", "2027-01-04T09:00Z")
    );
}

#[test]
fn every_stretch_of_a_sliding_window_lies_in_the_buckets_that_count() {
    // 100 ms in 7 buckets: they are a little longer than a seventh.
    let window = window("sliding 100ms 7");
    for us in (0..400_000).step_by(777) {
        let now = Timestamp::from_unix_us(us);
        let bucket = window.period_at(now);
        let after = window.counts_after(bucket.start);
        assert!(after.as_unix_us() <= us - 100_000, "{us}");
        assert!(bucket.contains(now));
    }
}

#[test]
fn windows_read_back_from_their_text_and_from_json() {
    for text in [
        "lifetime",
        "day Europe/Berlin",
        "day UTC +06:00",
        "week:sunday America/New_York",
        "month:31 Asia/Kolkata",
        "fixed 7d",
        "fixed 90m 2027-01-04T00:00:00.000000Z",
        "sliding 1h 60",
        "sliding 1500ms 3",
    ] {
        let window = window(text);
        assert_eq!(window.to_string(), text);
        let json = serde_json::to_string(&window).unwrap();
        assert_eq!(
            serde_json::from_str::<Window>(&json).unwrap(),
            window,
            "{json}"
        );
    }
}

#[test]
fn what_is_not_a_window_is_refused_by_the_part_that_is_wrong() {
    for (text, part) in [
        ("day Mars/Olympus", "zone"),
        ("month:0 UTC", "day of a month"),
        ("month:32 UTC", "day of a month"),
        ("week:someday UTC", "day of the week"),
        ("day UTC +24:00", "time of day"),
        ("fixed 0s", "length of a window"),
        ("fixed 1y", "length of a window"),
        ("fixed 99999999d", "length of a window"),
        ("fixed 1d tomorrow", "not a time"),
        ("sliding 1h 0", "buckets"),
        ("sliding 1h 61", "buckets"),
        ("yearly UTC", "not a window"),
        ("", "not a window"),
    ] {
        let fault = text.parse::<Window>().unwrap_err().to_string();
        assert!(fault.contains(part), "{text}: {fault}");
    }
    for json in [
        r#"{"calendar":{"unit":"day"}}"#,
        r#"{"calendar":{"unit":"day","zone":"Nowhere"}}"#,
        r#"{"calendar":{"unit":"day","zone":"UTC","since":1}}"#,
        r#"{"fixed":{"duration":"0s"}}"#,
        r#"{"sliding":{"duration":"1h","buckets":0}}"#,
        r#"{"lifetime":{"zone":"UTC"}}"#,
    ] {
        assert!(serde_json::from_str::<Window>(json).is_err(), "{json}");
    }
}

fn any_window() -> impl Strategy<Value = Window> {
    let zones = prop::sample::select(vec![
        "UTC",
        "America/New_York",
        "Europe/Berlin",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Pacific/Auckland",
        "Asia/Kolkata",
        "Asia/Beirut",
        "America/Havana",
    ]);
    let units = prop::sample::select(vec![
        "day",
        "week",
        "week:thursday",
        "month",
        "month:31",
        "month:17",
    ]);
    let calendar = (units, zones, 0u32..24, 0u32..60)
        .prop_map(|(unit, zone, hour, minute)| format!("{unit} {zone} +{hour:02}:{minute:02}"));
    let fixed = (1u64..100_000).prop_map(|seconds| format!("fixed {seconds}s"));
    let sliding = (1u64..100_000, 1u32..=60).prop_map(|(ms, n)| format!("sliding {ms}ms {n}"));
    prop_oneof![calendar, fixed, sliding].prop_map(|text| text.parse().unwrap())
}

proptest! {
    /// Periods contain their time, every moment of one gives the same, and they follow each other
    /// without a gap.
    #[test]
    fn periods_are_dense_and_ordered(
        window in any_window(),
        // 1990 to 2060.
        us in 631_152_000_000_000i64..2_840_140_800_000_000,
        share in 0.0f64..1.0,
    ) {
        let now = Timestamp::from_unix_us(us);
        let period = window.period_at(now);
        prop_assert!(period.contains(now));
        let length = period.end.since(period.start);
        prop_assert_eq!(window.period_at(period.start.after(length.mul_f64(share))), period);
        let next = window.period_at(period.end);
        prop_assert_eq!(next.start, period.end);
        prop_assert!(next.end > next.start);
        let last = Timestamp::from_unix_us(period.start.as_unix_us().saturating_sub(1));
        prop_assert_eq!(window.period_at(last).end, period.start);
    }
}
