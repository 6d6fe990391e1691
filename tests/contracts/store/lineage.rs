//! Another history of PostgreSQL: what was cached of the lost one must match nothing any more.

mod full {
    use crate::store::commands::book;
    use crate::store::stage::{Stage, run};

    const VERSIONS: &str = "SELECT max(version) FROM schedule_version";

    #[tokio::test(flavor = "multi_thread")]
    async fn the_first_writer_on_another_history_moves_every_version_on_and_the_second_does_not() {
        let stage = Stage::full().await;
        let schedule = stage.schedule(10).await;
        run(&stage.store, vec![book(schedule, &[0], "c")]).await;
        assert_eq!(stage.database.number(VERSIONS).await, 2);
        stage.database.execute("UPDATE lineage SET system_id = '12'").await;
        let after_failover = stage.another_store().await;
        run(&after_failover, vec![book(schedule, &[1], "c")]).await;
        let moved = stage.database.number(VERSIONS).await;
        assert!(moved > 1_000_000 && moved % 1_000_000 == 3, "{moved}");
        let another = stage.another_store().await;
        run(&another, vec![book(schedule, &[2], "c")]).await;
        assert_eq!(stage.database.number(VERSIONS).await, moved + 1);
        let journal = "SELECT max(version) FROM journal";
        assert_eq!(stage.database.number(journal).await, moved + 1);
    }
}
