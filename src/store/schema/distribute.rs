//! Distributes the tables of a Citus cluster by schedule.

use sea_orm::ConnectionTrait as _;

use crate::store::connection::citus::{DISTRIBUTED, is_distributed};
use crate::store::connection::{Commit, Db, DbResult};

/// Prepares tables with data. A unique index of a distributed table contains the schedule, so that a key of a request and
/// a batch become unique within their schedule.
///
/// A batch of several schedules gets a row for each of them. Answers that were recorded without their schedule get it from
/// what they describe. The answers of the catalogue, which have no schedule, go to a table of the coordinator.
const PREPARE: &str = "
    SET LOCAL citus.multi_shard_modify_mode = 'sequential';
    ALTER TABLE batch DROP CONSTRAINT batch_pkey, ADD PRIMARY KEY (id, schedule_id);
    INSERT INTO batch (id, schedule_id, attempt, at)
        SELECT DISTINCT j.batch_id, j.schedule_id, b.attempt, b.at
        FROM journal j JOIN batch b ON b.id = j.batch_id ON CONFLICT DO NOTHING;
    UPDATE idempotency SET schedule_id = split_part(key, '-', 1)::bigint
        WHERE schedule_id = 0 AND caller = 'queue';
    UPDATE idempotency SET schedule_id = split_part(resource_id, '-', 1)::bigint
        WHERE schedule_id = 0 AND kind IN (2, 3, 4) AND described_until = expires_at;
    ALTER TABLE idempotency DROP CONSTRAINT idempotency_pkey,
        ADD PRIMARY KEY (caller, key, schedule_id);
    CREATE TABLE catalogue_idempotency (LIKE idempotency INCLUDING ALL);
    INSERT INTO catalogue_idempotency SELECT * FROM idempotency WHERE schedule_id = 0;
    DELETE FROM idempotency WHERE schedule_id = 0";

/// Distributes the tables in one transaction, if they are not. Other sessions wait meanwhile.
pub(crate) async fn distribute(db: &Db) -> DbResult<()> {
    if is_distributed(db).await? {
        return Ok(());
    }
    let session = db.begin().await?;
    let lock = format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", DISTRIBUTED.join(", "));
    session.connection.execute_unprepared(&lock).await?;
    session.connection.execute_unprepared(PREPARE).await?;
    for table in DISTRIBUTED {
        let place = if table == "schedule_version" { "none" } else { "schedule_version" };
        let distribute = format!(
            "SELECT create_distributed_table('{table}', 'schedule_id', colocate_with => '{place}');
             SELECT truncate_local_data_after_distributing_table('{table}')"
        );
        session.connection.execute_unprepared(&distribute).await?;
    }
    match session.commit().await? {
        Commit::Done => Ok(()),
        Commit::Uncertain => is_distributed(db).await.map(drop),
    }
}
