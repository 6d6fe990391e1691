//! Finds out whether the database is the coordinator of a Citus cluster.

use crate::domain::execution_error::{StoreError, StoreResult};
use crate::store::connection::DbResult;
use crate::store::connection::dialect::Dialect;
use crate::store::connection::session::Db;

/// An engine that speaks the protocol of PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// One PostgreSQL primary has all tables.
    Postgresql,
    /// A coordinator of Citus has the catalogue, and its workers have the seats.
    Citus,
}

/// What a database with the extension returns about its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cluster {
    is_coordinator: bool,
    workers: i64,
    is_distributed: bool,
}

/// The tables that are distributed, the first of which determines the places of all.
pub(crate) const DISTRIBUTED: [&str; 9] = [
    "schedule_version",
    "seat",
    "hold",
    "booking",
    "block",
    "booking_seat",
    "journal",
    "batch",
    "idempotency",
];

/// The dialect of a database of PostgreSQL, found by asking it.
///
/// # Errors
/// [`StoreError::Unfit`] if the database is not of the engine that the configuration states, is a worker, or if a replica
/// is named for a cluster.
pub(crate) async fn dialect(
    db: &Db,
    stated: Option<Engine>,
    has_replica: bool,
) -> StoreResult<Dialect> {
    let found = engine_of(cluster(db).await?, stated).map_err(StoreError::Unfit)?;
    match found {
        Engine::Postgresql => Ok(Dialect::Postgres),
        Engine::Citus if has_replica => Err(StoreError::Unfit(
            "reads of a Citus cluster go to its coordinator: unset READ_DB_URL".to_owned(),
        )),
        Engine::Citus => Ok(Dialect::Citus),
    }
}

/// Whether all tables are distributed.
pub(crate) async fn is_distributed(db: &Db) -> DbResult<bool> {
    let tables = DISTRIBUTED.map(|table| format!("to_regclass('{table}')")).join(", ");
    let sql = format!("SELECT count(*) FROM pg_dist_partition WHERE logicalrelid IN ({tables})");
    Ok(db.fetch_one::<i64>(sql, Vec::new()).await? == Some(DISTRIBUTED.len() as i64))
}

/// `None` for a database without the extension.
async fn cluster(db: &Db) -> DbResult<Option<Cluster>> {
    let sql = "SELECT count(*) FROM pg_extension WHERE extname = 'citus'";
    if db.fetch_one::<i64>(sql, Vec::new()).await? != Some(1) {
        return Ok(None);
    }
    let sql = "SELECT (SELECT max(groupid) FROM pg_dist_local_group) = 0,
         (SELECT count(*) FROM pg_dist_node
          WHERE groupid > 0 AND noderole = 'primary' AND isactive AND shouldhaveshards),
         EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = to_regclass('schedule_version'))";
    let found = db.fetch_one::<(bool, i64, bool)>(sql, Vec::new()).await?;
    Ok(found.map(|(is_coordinator, workers, is_distributed)| Cluster {
        is_coordinator,
        workers,
        is_distributed,
    }))
}

/// The engine that is used, given what the database returned and what the configuration states.
fn engine_of(cluster: Option<Cluster>, stated: Option<Engine>) -> Result<Engine, String> {
    let found = match cluster {
        Some(Cluster { is_coordinator: false, .. }) => {
            return Err(
                "this database is on a worker of a Citus cluster: name the coordinator in \
                        WRITE_DB_URL"
                    .to_owned(),
            );
        }
        Some(Cluster { workers, is_distributed, .. }) if workers > 0 || is_distributed => {
            Engine::Citus
        }
        _ => Engine::Postgresql,
    };
    match (stated, found) {
        (Some(Engine::Citus), Engine::Postgresql) => {
            let lacks = if cluster.is_some() {
                "it has the extension but no workers: add them by citus_add_node()"
            } else {
                "it lacks the extension: run CREATE EXTENSION citus on every node"
            };
            Err(format!("WRITE_DB_ENGINE is citus, but the database is no cluster; {lacks}"))
        }
        (Some(Engine::Postgresql), Engine::Citus) => {
            Err("WRITE_DB_ENGINE is postgresql, but the database is the coordinator of a Citus \
                 cluster: set it to citus or unset it"
                .to_owned())
        }
        _ => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: Cluster = Cluster { is_coordinator: true, workers: 0, is_distributed: false };

    #[test]
    fn a_coordinator_with_workers_is_citus() {
        assert_eq!(engine_of(None, None), Ok(Engine::Postgresql));
        assert_eq!(engine_of(Some(EMPTY), None), Ok(Engine::Postgresql));
        let cluster = Cluster { workers: 2, ..EMPTY };
        assert_eq!(engine_of(Some(cluster), None), Ok(Engine::Citus));
        assert_eq!(engine_of(Some(cluster), Some(Engine::Citus)), Ok(Engine::Citus));
        let one_node = Cluster { is_distributed: true, ..EMPTY };
        assert_eq!(engine_of(Some(one_node), None), Ok(Engine::Citus));
    }

    #[test]
    fn another_engine_than_stated_is_refused_with_the_remedy() {
        let cluster = Cluster { workers: 2, ..EMPTY };
        let worker = Cluster { is_coordinator: false, ..cluster };
        for (found, stated, remedy) in [
            (None, Some(Engine::Citus), "CREATE EXTENSION citus"),
            (Some(EMPTY), Some(Engine::Citus), "citus_add_node()"),
            (Some(cluster), Some(Engine::Postgresql), "set it to citus or unset it"),
            (Some(worker), None, "name the coordinator in WRITE_DB_URL"),
        ] {
            let refused = engine_of(found, stated).unwrap_err();
            assert!(refused.contains(remedy), "{refused}");
        }
    }
}
