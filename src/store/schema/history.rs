//! Begins a new history because an operator asks for it: after a restore or a clone that cannot be recognised.

use std::sync::Arc;

use crate::domain::execution_error::{StoreError, StoreResult};
use crate::store::connection::lineage::{Lineage, verify_sqlite};
use crate::store::connection::{Db, HISTORY, Target};
use crate::store::schema::backup::mark_as_copy;
use crate::store::schema::compatibility::schema_status;
use crate::store::schema::migrate::connect_writer;
use crate::store::{Settings, Store};

impl Store {
    /// Begins a new history. Returns the names of the history before and of the new one. The service may run meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] if the schema is not that of this program.
    pub async fn begin_history(settings: &Settings) -> StoreResult<(String, String)> {
        let target = &settings.target;
        let lineage = Arc::<Lineage>::default();
        let db = connect_writer(target, &settings.limits, &lineage).await?;
        let begun = begin(&db, target, &lineage).await;
        db.connection.close().await?;
        begun
    }
}

async fn begin(db: &Db, target: &Target, lineage: &Lineage) -> StoreResult<(String, String)> {
    if let Some(problem) = schema_status(db).await?.problem() {
        return Err(StoreError::Unfit(problem));
    }
    let before = name(db).await?;
    let unavailable = |error: sea_orm::sqlx::Error| StoreError::Unavailable(error.to_string());
    match target {
        Target::Postgres { .. } => {
            let pool = db.connection.get_postgres_connection_pool();
            let mut connection = pool.acquire().await.map_err(unavailable)?;
            lineage.begin(&mut connection).await.map_err(unavailable)?;
        }
        Target::Sqlite { .. } => {
            let pool = db.connection.get_sqlite_connection_pool();
            let mut connection = pool.acquire().await.map_err(unavailable)?;
            mark_as_copy(&mut connection).await.map_err(unavailable)?;
            verify_sqlite(&mut connection).await.map_err(unavailable)?;
        }
    }
    Ok((before, name(db).await?))
}

async fn name(db: &Db) -> StoreResult<String> {
    let name = db.fetch_one::<String>(format!("SELECT {HISTORY}"), Vec::new()).await?;
    Ok(name.unwrap_or_default())
}
