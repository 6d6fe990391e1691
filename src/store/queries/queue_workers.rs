//! The processes that consume a queue: each writes heartbeats, and reads which others are alive.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbErr};
use uuid::Uuid;

use crate::domain::execution_error::StoreError;

use crate::store::Store;
use crate::store::queries::queue::ms;

impl Store {
    /// Writes the heartbeat of the process `id`, which counts for `life` on the database's clock. Returns all processes
    /// that consume `queue`, this one included.
    pub async fn queue_worker_heartbeat(
        self: &Arc<Self>,
        queue: String,
        id: Uuid,
        life: Duration,
    ) -> Result<Vec<Uuid>, StoreError> {
        let dialect = self.dialect;
        let work = move |db: DatabaseConnection| async move {
            let now = dialect.now();
            let sql = format!("DELETE FROM queue_worker WHERE queue = $1 AND until <= {now}");
            db.execute_raw(dialect.statement(sql, vec![queue.clone().into()])).await?;
            let sql = format!(
                "INSERT INTO queue_worker (queue, id, until) VALUES ($1, $2, {now} + $3)
                 ON CONFLICT (queue, id) DO UPDATE SET until = excluded.until"
            );
            let values = vec![queue.clone().into(), id.into(), ms(life).into()];
            db.execute_raw(dialect.statement(sql, values)).await?;
            let sql = format!("SELECT id FROM queue_worker WHERE queue = $1 AND until > {now}");
            let rows = db.query_all_raw(dialect.statement(sql, vec![queue.into()])).await?;
            rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<Vec<Uuid>, DbErr>>()
        };
        self.on_primary(work).await
    }

    /// Removes the heartbeat of the process `id`, which stops.
    pub async fn queue_worker_remove(
        self: &Arc<Self>,
        queue: String,
        id: Uuid,
    ) -> Result<(), StoreError> {
        let dialect = self.dialect;
        let work = move |db: DatabaseConnection| async move {
            let sql = "DELETE FROM queue_worker WHERE queue = $1 AND id = $2";
            let values = vec![queue.into(), id.into()];
            db.execute_raw(dialect.statement(sql, values)).await.map(drop)
        };
        self.on_primary(work).await
    }
}
