//! Migrations by several processes that start together.

use futures_util::future::join_all;
use seatlock::store::Store;

use super::stage::settings;

async fn four_migrations_take_each_step_once(variables: &[(&str, &str)]) {
    let settings = settings(variables);
    let migrations = (0..4).map(|_| {
        let settings = settings.clone();
        tokio::spawn(async move { Store::migrate(&settings.target, &settings.limits).await })
    });
    let steps: Vec<usize> =
        join_all(migrations).await.into_iter().map(|done| done.unwrap().unwrap()).collect();
    assert_eq!(steps.iter().filter(|steps| **steps > 0).count(), 1, "{steps:?}");
}

mod embedded {
    use test_support::Folder;

    #[tokio::test(flavor = "multi_thread")]
    async fn four_processes_migrate_a_file_concurrently() {
        let folder = Folder::new();
        let path = folder.path().join("seatlock.db");
        let variables = [("SQLITE_PATH", &*path.to_string_lossy())];
        super::four_migrations_take_each_step_once(&variables).await;
    }
}

mod full {
    use test_support::Postgres;

    #[tokio::test(flavor = "multi_thread")]
    async fn four_processes_migrate_a_database_concurrently() {
        let url = Postgres::shared().create_database();
        super::four_migrations_take_each_step_once(&[("WRITE_DB_URL", &url)]).await;
    }
}
