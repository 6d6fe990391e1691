//! What managed services do differently: they refuse the functions by which a history is recognised, and make settings
//! for roles and databases.

use std::time::Duration;

use seatlock::domain::execution_error::StoreError;
use seatlock::store::Store;
use seatlock::telemetry::metrics::batch::BatchOutcome;
use test_support::{Postgres, Relay, eventually};
use tokio::task::block_in_place;

use super::commands::book;
use super::stage::{Stage, default_rules, first_lane, run, settings};

const LINEAGE: &str = "SELECT history FROM lineage";

/// The versions of a history that is not the first begin here.
const LATER: i64 = 1_000_000;

/// Long enough for connections to be noticed as lost on a loaded machine.
const SOON: Duration = Duration::from_secs(20);

/// Makes a function of PostgreSQL raise this error, in this database and for every role. The function itself is renamed,
/// since PostgreSQL does not look up the definition of its own functions.
fn refuse(server: &Postgres, url: &str, function: &str, returns: &str, code: &str, text: &str) {
    server.psql(
        url,
        &format!("ALTER FUNCTION pg_catalog.{function}() RENAME TO {function}_of_postgres"),
    );
    server.psql(
        url,
        &format!(
            "CREATE FUNCTION pg_catalog.{function}() RETURNS {returns} LANGUAGE plpgsql AS $$ BEGIN
                 RAISE EXCEPTION '{text}' USING ERRCODE = '{code}'; END $$"
        ),
    );
}

/// As on Aurora while logical replication is off.
fn refuse_log(server: &Postgres, url: &str) {
    let text = "wal_level must be set to ''logical''";
    refuse(server, url, "pg_current_wal_lsn", "pg_lsn", "55000", text);
}

async fn history(stage: &Stage) -> String {
    stage.database.column(LINEAGE).await.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_of_its_history_is_returned_it_sells_says_so_and_begins_one_when_asked() {
    let url = block_in_place(|| {
        let server = Postgres::shared();
        let url = server.create_database();
        refuse_log(server, &url);
        let name = url.rsplit('/').next().unwrap();
        for sql in [
            "CREATE ROLE managed LOGIN",
            &format!("ALTER DATABASE {name} OWNER TO managed"),
            "REVOKE EXECUTE ON FUNCTION pg_control_system(), pg_control_checkpoint(), pg_control_recovery() FROM PUBLIC",
        ] {
            server.psql(&url, sql);
        }
        url.replace("app@", "managed@")
    });
    let stage = Stage::at(&url).await;
    let schedule = stage.schedule(10).await;
    stage.run_one(book(schedule, &[0], "c")).await.unwrap();
    let warning = stage.store.history_warning().unwrap();
    for expected in [
        "cluster: 42501, permission denied for function pg_control_system",
        "timeline: 55000, wal_level must be set to 'logical'",
        "`seatlock history begin`",
    ] {
        assert!(warning.contains(expected), "{warning}");
    }
    let first = history(&stage).await;
    let lane = stage.another_lane().await;
    run(&lane, vec![book(schedule, &[1], "c")]).await.remove(0).unwrap();
    assert_eq!((history(&stage).await, stage.version(schedule).await), (first.clone(), 3));

    stage.database.execute("UPDATE lineage SET system_id = 'restored'").await;
    let lane = stage.another_lane().await;
    run(&lane, vec![book(schedule, &[2], "c")]).await.remove(0).unwrap();
    let second = history(&stage).await;
    assert_ne!(second, first);
    let version = stage.version(schedule).await;
    assert!(version > LATER && version % LATER == 4, "{version}");

    let begun = Store::begin_history(&stage.settings).await.unwrap();
    assert_eq!(begun, (second, history(&stage).await));
    assert_ne!(begun.0, begun.1);
    let moved = stage.version(schedule).await;
    assert!(moved > version && moved % LATER == 4, "{moved}");
    stage.run_one(book(schedule, &[3], "c")).await.unwrap();
    assert_eq!(stage.version(schedule).await, moved + 1, "it is begun once");
    stage.audit().await;
}

/// Tests that copy the files of a server, by the tools of its version.
mod copies {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_control_file_has_the_timeline_of_a_promoted_standby_before_and_after_a_checkpoint()
    {
        let (primary, standby, url) = block_in_place(|| {
            let primary = Postgres::start(&[]);
            let url = primary.create_database();
            refuse_log(&primary, &url);
            let standby = primary.standby();
            (primary, standby, url)
        });
        let stage = Stage::at(&url).await;
        assert_eq!(stage.store.check_durability().await, Ok(()));
        assert_eq!(stage.store.history_warning(), None, "the control file has all that is needed");
        let schedule = stage.schedule(10).await;
        stage.run_one(book(schedule, &[0], "c")).await.unwrap();
        let first = history(&stage).await;
        let url = block_in_place(|| {
            standby.wait_until_caught_up(SOON);
            primary.kill();
            standby.promote();
            standby.url(&url)
        });
        let promoted = Stage::at(&url).await;
        let second = history(&promoted).await;
        assert_ne!(second, first);
        let version = promoted.version(schedule).await;
        assert!(version > LATER, "{version}");
        block_in_place(|| standby.psql("postgres", "CHECKPOINT"));
        let lane = promoted.another_lane().await;
        run(&lane, vec![book(schedule, &[1], "c")]).await.remove(0).unwrap();
        assert_eq!(
            (history(&promoted).await, promoted.version(schedule).await),
            (second, version + 1)
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_process_whose_newest_sale_is_lost_begins_a_new_history() {
        let server = block_in_place(|| Postgres::start(&[]));
        let stage = Stage::on_postgres(&server).await;
        let schedule = stage.schedule(10).await;
        let relay = Relay::to(server.port());
        let name: String = stage.database.column("SELECT current_database()::text").await.remove(0);
        let address = |port: u16| format!("postgres://app@127.0.0.1:{port}/{name}");
        let through = settings(&[("WRITE_DB_URL", &address(relay.port()))]);
        let store = Store::open(through, stage.metrics.clone()).await.unwrap();
        let lane = first_lane(&store);
        run(&lane, vec![book(schedule, &[0], "c")]).await.remove(0).unwrap();
        let backup = block_in_place(|| server.base_backup());
        run(&lane, vec![book(schedule, &[1], "lost")]).await.remove(0).unwrap();
        let (first, lost) = (history(&stage).await, stage.version(schedule).await);

        let copy = block_in_place(|| {
            let copy = Postgres::run_copy(backup);
            relay.lead_to(copy.port());
            relay.cut();
            relay.heal();
            copy
        });
        eventually("a sale on the copy", SOON, async || {
            run(&lane, vec![book(schedule, &[1], "d")]).await.remove(0)
        })
        .await;
        let on_copy = Stage::at(&address(copy.port())).await;
        let version = on_copy.version(schedule).await;
        assert_ne!(history(&on_copy).await, first);
        assert!(version > LATER && version % LATER == lost, "{version}");
        on_copy.audit().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_the_database_do_not_reach_the_sessions() {
    let url = block_in_place(|| {
        let server = Postgres::shared();
        let url = server.create_database();
        let name = url.rsplit('/').next().unwrap();
        let newer: u32 = server.psql(&url, "SHOW server_version_num").parse().unwrap();
        let mut all = vec![
            ("default_transaction_isolation", "serializable"),
            ("statement_timeout", "5ms"),
            ("lock_timeout", "1ms"),
            ("idle_in_transaction_session_timeout", "1ms"),
            ("idle_session_timeout", "50ms"),
        ];
        if newer >= 170_000 {
            all.push(("transaction_timeout", "5ms"));
        }
        for (setting, value) in all {
            // The connection of psql has the default of the server.
            server.psql("postgres", &format!("ALTER DATABASE {name} SET {setting} = '{value}'"));
        }
        url
    });
    let settings = settings(&[("WRITE_DB_URL", &url)]);
    Store::migrate(&settings.target, &settings.limits).await.unwrap();
    let metrics = std::sync::Arc::new(seatlock::telemetry::metrics::Metrics::new().unwrap());
    let stores = [
        Store::open(settings.clone(), metrics.clone()).await.unwrap(),
        Store::open(settings, metrics.clone()).await.unwrap(),
    ];
    let schedule = Stage::schedule_in(&stores[0], 40, default_rules()).await.id;
    let lanes = stores.each_ref().map(first_lane);
    for seat in 0..20 {
        let sales = [seat, seat + 20].map(|seat| vec![book(schedule, &[seat], "c")]);
        let [first, second] = sales;
        let (first, second) = tokio::join!(run(&lanes[0], first), run(&lanes[1], second));
        first.into_iter().chain(second).for_each(|sale| drop(sale.unwrap()));
        if seat % 10 == 9 {
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    }
    let retried = metrics.batch.batches_total.with_label_values(&[BatchOutcome::Retried]).get();
    assert_eq!(retried, 0, "sales of one schedule wait for each other, and none is in conflict");
    let seats = stores[1].seats(schedule, seatlock::store::ReadFrom::Primary).await.unwrap();
    assert!(seats.unwrap().states.iter().all(|(code, _)| *code == 2), "all are sold");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_needs_the_schema_of_this_program() {
    let url = block_in_place(|| Postgres::shared().create_database());
    let refused = Store::begin_history(&settings(&[("WRITE_DB_URL", &url)])).await.unwrap_err();
    let StoreError::Unfit(text) = refused else { panic!("{refused:?}") };
    assert!(text.contains("run `seatlock migrate`"), "{text}");
}
