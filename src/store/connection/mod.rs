//! Connections, transactions, and the differences between PostgreSQL and SQLite.

pub(crate) mod connect;
pub(crate) mod connection_wait;
pub(crate) mod dialect;
pub(crate) mod errors;
pub(crate) mod files;
pub(crate) mod lineage;
pub(crate) mod pool;
pub(crate) mod routing;
pub(crate) mod rows;
pub(crate) mod session;

pub(crate) use connect::{Connections, Limits, Target};
pub(crate) use dialect::{Dialect, RowSet};
pub(crate) use errors::{ErrorClass, classify};
pub(crate) use lineage::HISTORY;
pub(crate) use session::{Commit, Db, Session, Transaction};

/// The result of a statement.
pub(crate) type DbResult<T> = Result<T, sea_orm::DbErr>;
