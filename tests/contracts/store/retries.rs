//! Errors of PostgreSQL that are retried, and those that are not.

use seatlock::domain::execution_error::ExecutionError;
use seatlock::telemetry::metrics::batch::BatchOutcome;

use super::commands::{book, is_done, keyed};
use super::stage::{CommandResult, Stage};

impl Stage {
    /// Lets the next `times` batches fail with this SQLSTATE, when their batch id is written or, if `late`, at
    /// COMMIT.
    async fn fail_batches(&self, state: &str, times: u32, late: bool) {
        let trigger = match late {
            true => {
                "CREATE CONSTRAINT TRIGGER failing AFTER INSERT ON batch \
                     DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION failing()"
            }
            false => {
                "CREATE TRIGGER failing AFTER INSERT ON batch \
                      FOR EACH ROW EXECUTE FUNCTION failing()"
            }
        };
        // A rollback does not reset a sequence.
        let sql = format!(
            "CREATE SEQUENCE failures;
             CREATE FUNCTION failing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF nextval('failures') <= {times} THEN
                     RAISE EXCEPTION 'planted' USING ERRCODE = '{state}';
                 END IF;
                 RETURN NULL;
             END $$;
             {trigger}"
        );
        self.database.execute(&sql).await;
    }

    fn retried(&self) -> u64 {
        let retried = BatchOutcome::Retried;
        self.metrics.batch.batches_total.with_label_values(&[retried]).get()
    }
}

mod full {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_batch_that_lost_a_race_between_transactions_is_retried() {
        // 57P01 ends the connection, as an operator or the end of a worker of a cluster does.
        for (state, late) in
            [("40001", false), ("40001", true), ("40P01", false), ("40P01", true), ("57P01", false)]
        {
            let stage = Stage::full().await;
            let schedule = stage.schedule(2).await;
            stage.fail_batches(state, 2, late).await;
            let commands =
                vec![keyed(book(schedule, &[0], "anna"), "k"), book(schedule, &[1], "ben")];
            let results = stage.run(commands).await;
            assert!(results.iter().all(is_done), "{state} late={late}: {results:?}");
            assert_eq!(stage.retried(), 2);
            assert_eq!(stage.version(schedule).await, 2);
            stage.audit().await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_batch_that_always_loses_the_race_ends_without_effect() {
        let stage = Stage::full().await;
        let schedule = stage.schedule(2).await;
        stage.fail_batches("40001", 1_000, false).await;
        let before = stage.database.dump().await;
        let result = stage.run_one(keyed(book(schedule, &[0], "anna"), "k")).await;
        assert!(matches!(result, Err(ExecutionError::Unavailable(_))), "{result:?}");
        assert_eq!(stage.database.dump().await, before);
        stage.database.execute("DROP TRIGGER failing ON batch").await;
        assert!(is_done(&stage.run_one(keyed(book(schedule, &[0], "anna"), "k")).await));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_batch_is_not_retried_on_a_full_slow_or_read_only_server() {
        let readonly = |result: &_| matches!(result, Err(ExecutionError::ReadOnly));
        let unavailable = |result: &_| matches!(result, Err(ExecutionError::Unavailable(_)));
        type Expected<'a> = &'a dyn Fn(&CommandResult) -> bool;
        let table: [(&str, Expected<'_>); 4] = [
            ("53100", &unavailable),
            ("55P03", &unavailable),
            ("57014", &unavailable),
            ("25006", &readonly),
        ];
        for (state, expected) in table {
            let stage = Stage::full().await;
            let schedule = stage.schedule(4).await;
            stage.fail_batches(state, 1, false).await;
            let results =
                stage.run((0..4).map(|seat| book(schedule, &[seat], "anna")).collect()).await;
            assert!(results.iter().all(expected), "{state}: {results:?}");
            assert_eq!(stage.states(schedule).await, "0000");
            assert!(is_done(&stage.run_one(book(schedule, &[0], "anna")).await), "{state}");
        }
    }
}
