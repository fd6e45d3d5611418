//! The prices of a store: imports and overrides change them, and what was made by others stays.

use mission_control::core::pricing::{ImportOptions, Terms, cost, import};
use mission_control::{Digest, Overrides, Permit, PriceChange, PriceSource, Timestamp};

use crate::common::*;

/// Half the price for the model that all know.
const HALF: &str =
    "schema = 1\nversion = \"half\"\n[[discount]]\nmodel = \"test/m\"\nfactor = \"1/2\"\n";

/// A list in which the model costs twice as much, and one more is named.
const DOUBLE: &str = r#"{
  "m": {"litellm_provider": "test", "input_cost_per_token": 0.002, "output_cost_per_token": 0.002},
  "n": {"litellm_provider": "test", "input_cost_per_token": 0.003, "output_cost_per_token": 0.003}
}"#;

fn half() -> PriceChange {
    PriceChange::Override(Arc::new(Overrides::parse(HALF).unwrap()))
}

pub fn double() -> PriceChange {
    let options = ImportOptions {
        source: PriceSource::Litellm,
        providers: std::collections::BTreeSet::new(),
        checked_at: Timestamp::EPOCH,
    };
    let read = import(DOUBLE.as_bytes(), &options).unwrap();
    PriceChange::Import(PriceSource::Litellm, Arc::new(read.table))
}

async fn reserve(session: &Session) -> Permit {
    let admission = session.reserve(&request("p", 10)).await.unwrap();
    let Admission::Allowed(permit) = admission else {
        panic!("{admission:?}");
    };
    permit
}

/// Each settlement's version and nano-USD, as the log has them.
async fn charges(control: &MissionControl, run: &RunHandle) -> Vec<(Digest, Usage, i64)> {
    let all = events(control, run).await;
    let settled = all
        .iter()
        .filter(|event| &*event.kind == "model_call.settled");
    let read = settled.map(|event| {
        let facts: Value = serde_json::from_str(&event.facts).unwrap();
        let version = facts["price_version"].as_str().unwrap().parse().unwrap();
        let usage = serde_json::from_value(facts["usage"].clone()).unwrap();
        (
            version,
            usage,
            facts["actual"]["nano_usd"].as_i64().unwrap(),
        )
    });
    read.collect()
}

#[test]
fn a_call_is_settled_by_the_prices_that_it_was_reserved_by() {
    let world = World::seeded(1);
    world.run(async {
        let control = world.open().await;
        let session = guard(&control).await;
        let before = reserve(&session).await;
        let old = control.prices().version();
        let new = control.change_prices("ann", half()).await.unwrap();
        let after = reserve(&session).await;
        before.settle(&answer("ok", 10)).await.unwrap();
        after.settle(&answer("ok", 10)).await.unwrap();
        let run = control.run(session.id());
        session.close().await.unwrap();
        let charges = charges(&control, &run).await;
        let versions: Vec<Digest> = charges.iter().map(|charge| charge.0).collect();
        assert_eq!(versions, [old, new]);
        assert_eq!(charges[0].2, 2 * charges[1].2);
    });
}

#[test]
fn a_change_stays_in_force_after_a_crash_and_every_charge_works_out_again_by_its_own_table() {
    let world = World::seeded(2);
    world.run(async {
        let control = world.open().await;
        let session = guard(&control).await;
        for change in [None, Some(double()), Some(half())] {
            if let Some(change) = change {
                control.change_prices("ann", change).await.unwrap();
            }
            let permit = reserve(&session).await;
            permit.settle(&answer("ok", 10)).await.unwrap();
        }
        let run = control.run(session.id());
        session.close().await.unwrap();
        let (in_force, charged) = (control.prices().version(), charges(&control, &run).await);
        world.crash();
        let control = world.open().await;
        assert_eq!(control.prices().version(), in_force);
        assert!(control.prices().has(&"test/n".parse().unwrap()));
        let spent: Vec<i64> = charged.iter().map(|charge| charge.2).collect();
        assert_eq!((spent[1], spent[2]), (2 * spent[0], spent[0]));
        for (version, usage, nano) in charged {
            let table = control.price_table(version).await.unwrap();
            let row = table.find(&model(), START).unwrap();
            let again = cost(row, &usage, &Terms::default()).unwrap();
            assert_eq!(again.money.as_nano(), nano);
        }
    });
}

#[test]
fn layers_that_do_not_fit_change_nothing() {
    let world = World::seeded(3);
    world.run(async {
        let control = world.open().await;
        control.change_prices("ann", double()).await.unwrap();
        let nobody = HALF.replace("test/m", "test/n");
        let over = PriceChange::Override(Arc::new(Overrides::parse(&nobody).unwrap()));
        let version = control.change_prices("ann", over).await.unwrap();
        // Without the import the discount has no model.
        let drop = PriceChange::DropImport(PriceSource::Litellm);
        let error = control.change_prices("ann", drop).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(
            format!("{error:?}").contains("/discount/0/model"),
            "{error:?}"
        );
        assert_eq!(control.prices().version(), version);
    });
}

#[test]
fn the_same_change_twice_is_one_event() {
    let world = World::seeded(4);
    world.run(async {
        let control = world.open().await;
        let one = control.change_prices("ann", half()).await.unwrap();
        let two = control.change_prices("ann", half()).await.unwrap();
        assert_eq!(one, two);
        let last = PriceChange::DropOverrides;
        control.change_prices("ann", last).await.unwrap();
        assert_eq!(control.prices().version(), prices().version());
        assert!(control.price_table(Digest::ZERO).await.is_err());
    });
}

#[test]
fn another_table_of_the_hosts_lies_under_the_same_layers() {
    let world = World::seeded(5);
    world.run(async {
        let control = world.open().await;
        control.change_prices("ann", half()).await.unwrap();
        world.crash();
        let table = test_prices("rate = [{ input = \"4000\", output = \"4000\" }]");
        let settings = Settings {
            prices: Arc::new(PriceTable::parse(&table).unwrap()),
            ..settings()
        };
        let control = world.open_with(settings).await;
        let in_force = control.prices();
        let row = in_force.find(&model(), START).unwrap();
        let cost = cost(row, &Usage::text(1, 0), &Terms::default()).unwrap();
        assert_eq!(cost.money, NanoUsd::from_nano(2_000_000));
    });
}

#[test]
fn a_host_table_over_which_a_layer_does_not_fit_leaves_the_last_prices_in_force() {
    let world = World::seeded(6);
    world.run(async {
        let control = world.open().await;
        let version = control.change_prices("ann", half()).await.unwrap();
        world.crash();
        let control = world.open_with(Settings::default()).await;
        assert_eq!(control.prices().version(), version);
    });
}

#[test]
fn a_dearer_model_that_answers_is_charged_and_flagged() {
    let world = World::seeded(7);
    world.run(async {
        let control = world.open().await;
        control.change_prices("ann", double()).await.unwrap();
        let session = guard(&control).await;
        let permit = reserve(&session).await;
        let other = ModelAnswer {
            model: Some("test/n".parse().unwrap()),
            ..answer("ok", 10)
        };
        permit.settle(&other).await.unwrap();
        let run = control.run(session.id());
        session.close().await.unwrap();
        let settled = facts(&control, &run, "model_call.settled").await;
        let used: Usage = serde_json::from_value(settled["usage"].clone()).unwrap();
        let tokens = i64::try_from(used.input_tokens() + used.output_tokens()).unwrap();
        assert_eq!(settled["actual"]["nano_usd"], json!(tokens * 3_000_000));
        assert!(
            settled["flags"]
                .as_array()
                .unwrap()
                .contains(&json!("model_changed"))
        );
    });
}

/// A session's call that is out while the prices double, and what it and its session come to.
async fn rises(control: &MissionControl, used: u64) -> (Session, Digest) {
    let session = guard(control).await;
    let permit = reserve(&session).await;
    let version = control.change_prices("ann", double()).await.unwrap();
    permit.settle(&answer("ok", used)).await.unwrap();
    (session, version)
}

#[test]
fn a_price_that_rose_while_a_call_was_out_is_charged_and_flagged() {
    let world = World::seeded(8);
    world.run(async {
        let control = world.open().await;
        let (session, version) = rises(&control, 4).await;
        let run = control.run(session.id());
        session.close().await.unwrap();
        let settled = facts(&control, &run, "model_call.settled").await;
        assert_eq!(settled["price_version"], json!(version.to_string()));
        assert_eq!(settled["actual"]["nano_usd"], 8_000_000);
        assert_eq!(settled["flags"], json!(["price_rose"]));
        let table = control.price_table(version).await.unwrap();
        let row = table.find(&model(), START).unwrap();
        let used: Usage = serde_json::from_value(settled["usage"].clone()).unwrap();
        let again = cost(row, &used, &Terms::default()).unwrap();
        assert_eq!(again.money, mills(8));
    });
}

#[test]
fn an_overrun_by_a_price_that_rose_is_one_like_any_other() {
    let world = World::seeded(9);
    world.run(async {
        let control = world.open().await;
        set(&control, AccountId::Workspace, 15, OnExceed::Abort).await;
        let (session, _) = rises(&control, 10).await;
        let next = session.reserve(&request("p", 1)).await.unwrap();
        assert!(matches!(next, Admission::Denied(_)), "{next:?}");
        let run = control.run(session.id());
        let settled = facts(&control, &run, "model_call.settled").await;
        assert_eq!(settled["flags"], json!(["price_rose", "overrun"]));
        let breached = facts(&control, &run, "budget.breached").await;
        assert_eq!(breached["over"]["nano_usd"], 5_000_000);
        assert_eq!(workspace(&control).spent().money, mills(20));
    });
}

#[test]
fn a_late_answer_is_charged_at_the_dearer_price_too() {
    let world = World::seeded(10);
    world.run(async {
        let it = agent(|ctx, _| async move {
            let admission = ctx.reserve(&request("p", 10)).await?;
            ctx.sleep(secs(60)).await;
            if let Admission::Allowed(permit) = admission {
                permit.settle(&answer("ok", 4)).await?;
            }
            Ok(json!(1).into())
        });
        let control = open_with(&world, settings(), "it", it).await;
        let run = begin(&control, ONE, json!({})).await;
        world.pass(secs(1)).await;
        run.abort(("ann", "as tested")).await.unwrap();
        let version = control.change_prices("ann", double()).await.unwrap();
        world.pass(secs(100)).await;
        let log = control.log().read_workspace(0, 1_000).await.unwrap();
        let late = find(&log, "result.late").unwrap();
        assert_eq!(late["used"]["price_version"], json!(version.to_string()));
        assert_eq!(late["used"]["flags"], json!(["price_rose"]));
        assert_eq!(workspace(&control).spent().money, mills(8));
    });
}
