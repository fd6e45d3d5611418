//! Many callers on many threads share one account, while somebody watches it all the time.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first broken promise"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mc_testkit::TEST_PRICES;
use mission_control::store::MemoryLog;
use mission_control::{
    AccountId, Admission, Builder, CallFailure, Limit, MissionControl, ModelAnswer, ModelRequest,
    NanoUsd, OnExceed, PriceTable, ProviderError, SessionOptions, Settings, Usage,
};

const CALLERS: u64 = 64;
const CALLS: u64 = 25;
/// What a call may cost at most, in thousandths of a dollar; the account has room for forty.
const BOUND: i64 = 10;
const LIMIT: i64 = 400;

fn mills(mills: i64) -> NanoUsd {
    NanoUsd::from_nano(mills * 1_000_000)
}

/// Reserves, and ends each call in another way, until the account has no room for good.
async fn spends(control: MissionControl, caller: u64) -> i64 {
    let options = SessionOptions::default();
    let session = control.guard("host", options).await.unwrap();
    let mut billed = 0;
    for call in 0..CALLS {
        let request = ModelRequest::text("test/m".parse().unwrap(), &format!("{caller}/{call}"))
            .input_tokens(0)
            .max_output_tokens(BOUND.unsigned_abs());
        let Admission::Allowed(permit) = session.reserve(&request).await.unwrap() else {
            break;
        };
        tokio::task::yield_now().await;
        if (caller + call).is_multiple_of(3) {
            let lost = ProviderError::new(CallFailure::Unreachable, "never sent");
            permit.fail(&lost).await.unwrap();
        } else {
            let cost = i64::try_from((caller + call) % 10).unwrap();
            let usage = Usage {
                output_text: cost.unsigned_abs(),
                ..Usage::default()
            };
            permit
                .settle(&ModelAnswer::text("ok", usage))
                .await
                .unwrap();
            billed += cost;
        }
    }
    session.close().await.unwrap();
    billed
}

/// Looks at the account again and again; tells how often.
fn watch(control: &MissionControl, ended: &AtomicBool) -> u64 {
    let mut looks = 0;
    while !ended.load(Ordering::Acquire) {
        if let Some(account) = control.account(&AccountId::Workspace) {
            let exposure = account.exposure().money;
            assert!(exposure <= mills(LIMIT), "{exposure} is over the limit");
            looks += 1;
        }
        std::thread::yield_now();
    }
    looks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_interleaving_of_many_callers_passes_a_limit_or_loses_a_cent() {
    let settings = Settings {
        prices: Arc::new(PriceTable::parse(TEST_PRICES).unwrap()),
        breaker: mission_control::core::resilience::BreakerSettings::new(
            1_000_000,
            std::time::Duration::from_secs(1),
            1,
        )
        .unwrap(),
        ..Settings::default()
    };
    let builder = Builder::new().with_settings(settings);
    let control = builder.open_log(Arc::new(MemoryLog::new())).await.unwrap();
    let limit = Limit::usd(mills(LIMIT));
    let set = control.set_limit(
        ("ann", "as tested"),
        AccountId::Workspace,
        limit,
        OnExceed::Abort,
    );
    set.await.unwrap();
    let ended = Arc::new(AtomicBool::new(false));
    let watcher = {
        let (control, ended) = (control.clone(), Arc::clone(&ended));
        std::thread::spawn(move || watch(&control, &ended))
    };
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| tokio::spawn(spends(control.clone(), caller)))
        .collect();
    let mut billed = 0;
    for caller in callers {
        billed += caller.await.unwrap();
    }
    ended.store(true, Ordering::Release);
    assert!(watcher.join().unwrap() > 0, "nobody looked");
    let account = control.account(&AccountId::Workspace).unwrap();
    assert_eq!(account.spent().money, mills(billed));
    assert!(account.reserved().is_zero() && account.in_doubt().is_zero());
    assert!(
        billed > LIMIT - 2 * BOUND,
        "they stopped long before the limit: {billed}"
    );
}
