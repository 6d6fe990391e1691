//! Connections, transactions, and the words in which PostgreSQL and SQLite differ.

pub(crate) mod connect;
pub(crate) mod dialect;
pub(crate) mod errors;
pub(crate) mod files;
pub(crate) mod lineage;
pub(crate) mod pool;
pub(crate) mod routing;
pub(crate) mod rows;
pub(crate) mod transaction;
pub(crate) mod waiting;
