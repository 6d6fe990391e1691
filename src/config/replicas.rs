//! The number of replicas, and the settings that several replicas need.

use super::Config;
use super::macros::variables;
use super::reader::Reader;

variables! {
    /// The number of replicas.
    pub(super) struct Replicas {
        /// how many replicas of this service run; more than one need PostgreSQL and Redis
        count: u32 = REPLICAS.number(1, 1..=1_000),
    }
}

/// Adds problems if several replicas would not share their database and their locks: replicas share neither the memory
/// of a process nor an SQLite file.
pub(super) fn check(config: &Config, reader: &mut Reader<'_>) {
    if config.replicas <= 1 {
        return;
    }
    let is_file = config.database.write_url.is_none();
    if is_file && !reader.is_refused("WRITE_DB_URL") {
        reader.refuse(
            "REPLICAS",
            "1, since WRITE_DB_URL is not set and replicas cannot share an SQLite file",
            "REPLICAS=1",
        );
    }
    let addresses = ["REDIS_HOST", "REDIS_NODES", "REDIS_SENTINEL_MASTER"];
    let is_refused = addresses.iter().any(|name| reader.is_refused(name));
    if config.redis.is_none() && !is_refused {
        reader.refuse(
            "REPLICAS",
            "1, since REDIS_HOST is not set and replicas cannot share locks in a process",
            "REPLICAS=1",
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{config, problems};

    const DATABASE: (&str, &str) = ("WRITE_DB_URL", "postgres://u:hunter2@primary/s");

    #[test]
    fn a_second_replica_needs_a_shared_database_and_shared_locks() {
        let found = problems(&[("REPLICAS", "2")]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("REPLICAS=\"2\": expected 1, since WRITE_DB_URL"));
        assert!(found[1].starts_with("REPLICAS=\"2\": expected 1, since REDIS_HOST"));
        assert_eq!(problems(&[("REPLICAS", "2"), DATABASE]).len(), 1);
        assert_eq!(problems(&[("REPLICAS", "2"), ("REDIS_HOST", "cache")]).len(), 1);
    }

    #[test]
    fn replicas_with_both_are_accepted() {
        assert_eq!(config(&[("REPLICAS", "3"), DATABASE, ("REDIS_HOST", "cache")]).replicas, 3);
        assert_eq!(config(&[]).replicas, 1);
    }

    #[test]
    fn a_wrong_address_is_one_problem() {
        let found = problems(&[("REPLICAS", "2"), DATABASE, ("REDIS_HOST", "not a host")]);
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
