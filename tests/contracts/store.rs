//! The contract of the store: each promise is written once and checked on SQLite and on PostgreSQL.

mod api_keys;
mod audit;
mod batches;
mod catalogue;
mod citus;
mod commands;
mod holds;
mod impossible;
mod keys;
mod large;
mod lineage;
mod lost_commit;
mod managed;
mod map_memory;
mod migrations;
mod overdue;
mod plans;
mod queue_workers;
mod races;
mod retries;
mod round_trips;
pub(crate) mod stage;
mod statements;
mod turns;

/// Makes two tests of each function named: `embedded` on SQLite, `full` on PostgreSQL.
macro_rules! on_both_databases {
    ($($name:ident),+ $(,)?) => {
        mod embedded {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    super::$name($crate::store::stage::Stage::embedded().await).await;
                }
            )+
        }

        mod full {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    super::$name($crate::store::stage::Stage::full().await).await;
                }
            )+
        }
    };
}
use on_both_databases;
