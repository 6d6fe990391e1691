//! Opens the store that the configuration describes.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, Database, DatabaseEngine, DatabaseServer, FromFile};
use crate::domain::execution_error::StoreError;
use crate::domain::rules::Policy;
use crate::http::stored_response::JsonAnswers;
use crate::store::{Engine, Limits, Login, PasswordSource, Schema, Settings, Store, Target};
use crate::telemetry::metrics::Metrics;

use super::AppError;

/// The settings of the store, from the configuration.
#[must_use]
pub fn store_settings(config: &Config) -> Settings {
    let database = &config.database;
    let target = match database.backend() {
        Database::Sqlite { path } => Target::Sqlite { path: path.to_owned() },
        Database::Postgres { write, read } => Target::Postgres {
            write: login(write, database.password_lifetime),
            read: read.map(|read| login(read, database.password_lifetime)),
            engine: database.engine.map(|engine| match engine {
                DatabaseEngine::Postgresql => Engine::Postgresql,
                DatabaseEngine::Citus => Engine::Citus,
            }),
        },
    };
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let limits = Limits {
        lanes: database.write_pool.map(count),
        read_pool: count(database.read_pool),
        pool_wait: database.pool_wait,
        lock_timeout: database.lock_timeout,
        statement_timeout: database.statement_timeout,
        transaction_timeout: database.transaction_timeout,
        creation_timeout: config.reservation.schedule_timeout,
    };
    let policy = Policy {
        hold_ttl_max: config.reservation.hold_ttl_max,
        outage_grace: config.reservation.outage_grace,
        idempotency_ttl: config.reservation.idempotency_ttl,
    };
    Settings { target, limits, policy, codec: &JsonAnswers }
}

fn login(server: DatabaseServer<'_>, lifetime: Duration) -> Arc<Login> {
    let source = match (server.command, server.password) {
        (Some(command), _) => PasswordSource::Command(command.to_vec(), lifetime),
        (None, Some(FromFile { file: Some(file), .. })) => PasswordSource::File(file.clone()),
        (None, Some(FromFile { value, file: None })) => {
            PasswordSource::Text(value.expose().to_owned())
        }
        (None, None) => {
            server.url.file.clone().map_or(PasswordSource::Url, PasswordSource::UrlFile)
        }
    };
    Login::new(server.url.value.expose(), source)
}

/// Opens the store, after the migrations if they are on. A schema that lacks steps is an error.
pub async fn open_store(config: &Config, metrics: &Arc<Metrics>) -> Result<Arc<Store>, AppError> {
    let settings = store_settings(config);
    if config.database.migrate {
        let steps = Store::migrate(&settings.target, &settings.limits).await?;
        if steps > 0 {
            log::info!("the schema was migrated by {steps} steps");
        }
    }
    let store = Store::open(settings, Arc::clone(metrics)).await?;
    store.check_durability().await?;
    for warning in store.file_warnings().into_iter().chain(store.history_warning()) {
        log::warn!("{warning}");
    }
    match store.schema().await? {
        Schema::Current => Ok(store),
        Schema::Newer(steps) => {
            log::info!(
                "the schema is {steps} steps newer than this program, and compatible with it"
            );
            Ok(store)
        }
        Schema::Behind(steps) => Err(AppError::SchemaBehind(steps)),
        schema @ Schema::Incompatible(_) => {
            Err(StoreError::Unfit(schema.problem().unwrap_or_default()).into())
        }
    }
}
