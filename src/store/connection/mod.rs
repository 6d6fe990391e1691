//! Connections, transactions, and the differences between PostgreSQL and SQLite.

pub(crate) mod citus;
pub(crate) mod claim_events;
pub(crate) mod connect;
pub(crate) mod connection_wait;
pub(crate) mod dialect;
pub(crate) mod errors;
pub(crate) mod files;
pub(crate) mod lineage;
pub(crate) mod login;
pub(crate) mod pool;
pub(crate) mod routing;
pub(crate) mod row_set;
pub(crate) mod rows;
pub(crate) mod session;
pub(crate) mod session_settings;
pub(crate) mod writes;

pub(crate) use connect::{Connections, Limits, Target};
pub(crate) use dialect::Dialect;
pub(crate) use errors::{ErrorClass, classify};
pub(crate) use lineage::HISTORY;
pub(crate) use row_set::RowSet;
pub(crate) use session::{Commit, Db, Session, Transaction};
pub(crate) use writes::Writes;

/// The result of a statement.
pub(crate) type DbResult<T> = Result<T, sea_orm::DbErr>;
