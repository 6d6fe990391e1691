//! The schema: migrations, compatibility with other releases, histories, backups.

pub(crate) mod backup;
pub(crate) mod compatibility;
pub(crate) mod distribute;
pub(crate) mod history;
pub(crate) mod migrate;
