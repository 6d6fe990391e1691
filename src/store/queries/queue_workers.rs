//! The processes that execute the requests of the admission queue. Each process renews its own row and reads the rows
//! of the others.

use std::time::Duration;

use uuid::Uuid;

use crate::domain::execution_error::StoreResult;
use crate::store::Store;
use crate::store::queries::queue::ms;

impl Store {
    /// Registers the process `id` as a worker of `queue`, for `life` from now on the database's clock. Returns
    /// all processes that are registered now, this one included.
    pub async fn queue_worker_heartbeat(
        &self,
        queue: String,
        id: Uuid,
        life: Duration,
    ) -> StoreResult<Vec<Uuid>> {
        self.on_primary(move |db| async move {
            let now = db.dialect.now();
            let sql = format!("DELETE FROM queue_worker WHERE queue = $1 AND until <= {now}");
            db.execute(sql, vec![queue.clone().into()]).await?;
            let sql = format!(
                "INSERT INTO queue_worker (queue, id, until) VALUES ($1, $2, {now} + $3)
                 ON CONFLICT (queue, id) DO UPDATE SET until = excluded.until"
            );
            db.execute(sql, vec![queue.clone().into(), id.into(), ms(life).into()]).await?;
            let sql = format!("SELECT id FROM queue_worker WHERE queue = $1 AND until > {now}");
            db.fetch(sql, vec![queue.into()]).await
        })
        .await
    }

    /// Removes the process `id` from the workers of `queue`.
    pub async fn queue_worker_remove(&self, queue: String, id: Uuid) -> StoreResult<()> {
        self.on_primary(move |db| async move {
            let sql = "DELETE FROM queue_worker WHERE queue = $1 AND id = $2";
            db.execute(sql, vec![queue.into(), id.into()]).await.map(drop)
        })
        .await
    }
}
