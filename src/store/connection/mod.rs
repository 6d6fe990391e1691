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
