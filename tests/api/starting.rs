//! What a process reads when it starts.

use crate::app::Stack;

/// More than the statements of a few seconds, and than the rows of any of them.
const SCHEDULES: i64 = 300;

/// The most calls of a statement in this database, or rows that its calls returned together.
const MOST: &str = "SELECT max(greatest(s.calls, s.rows)) FROM pg_stat_statements s
    JOIN pg_database d ON d.oid = s.dbid
    WHERE d.datname = current_database() AND s.query NOT LIKE '%pg_stat_statements%'";

mod full {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_start_takes_no_statement_and_no_row_for_each_schedule() {
        let app = Stack::Full.start().await;
        app.database.execute("CREATE EXTENSION pg_stat_statements").await;
        for _ in 0..SCHEDULES {
            app.row_of(2).await;
        }
        assert!(app.database.number(MOST).await >= SCHEDULES, "the statements are not counted");
        let forget = "SELECT pg_stat_statements_reset(0, d.oid, 0) FROM pg_database d
            WHERE d.datname = current_database()";
        app.database.execute(forget).await;
        let other = app.another_replica().await;
        other.wait_until("/readyz", |answer| answer.status == 200).await;
        let most = app.database.number(MOST).await;
        assert!(most > 0 && most < SCHEDULES, "{most} calls or rows of one statement");
    }
}
