//! Which history the primary is writing: after a failover it must not be an older one than any seen, and
//! nothing cached, streamed or tagged from a history that was lost may match the new one.

use std::sync::{Mutex, PoisonError};

use sea_orm::sqlx::{self, AssertSqlSafe, Executor as _, PgConnection};

use crate::domain::audit::HISTORY_JUMP;

/// The newest history that this process has written to.
#[derive(Debug, Default)]
pub(crate) struct Lineage {
    newest: Mutex<Option<History>>,
}

/// A cluster and its timeline (PostgreSQL manual, 26.3.5): a promotion begins a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct History {
    system: String,
    timeline: i64,
}

impl Lineage {
    /// Admits a new write connection, or refuses it: the server may be an old primary that came back.
    /// The first writer on a new history moves every version on, before any batch.
    pub(crate) async fn admit(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let sql = "SELECT system_identifier::text,
             ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint
             FROM pg_control_system()";
        let (system, timeline): (String, i64) =
            sqlx::query_as(sql).fetch_one(&mut *connection).await?;
        let found = History { system, timeline };
        if !self.is_current(&found) {
            let text =
                format!("this primary is at timeline {timeline}, older than one seen before");
            return Err(sqlx::Error::Configuration(text.into()));
        }
        connection.execute(AssertSqlSafe(adopt(&found))).await?;
        Ok(())
    }

    /// Remembers a history unless it is older than the newest of the same cluster.
    fn is_current(&self, found: &History) -> bool {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let older = newest
            .as_ref()
            .is_some_and(|known| known.system == found.system && found.timeline < known.timeline);
        if !older {
            *newest = Some(found.clone());
        }
        !older
    }
}

/// Writes the history down if it is a new one. The row's lock lets one writer do it; before the first
/// migration there is no row.
fn adopt(found: &History) -> String {
    let History { system, timeline } = found;
    // The identifier is a number by its source, so it needs no quoting of its own.
    let system: String = system.chars().filter(char::is_ascii_digit).collect();
    format!(
        "DO $$ DECLARE known text; BEGIN
             IF to_regclass('lineage') IS NULL THEN RETURN; END IF;
             PERFORM 1 FROM lineage WHERE system_id = '{system}' AND timeline = {timeline};
             IF FOUND THEN RETURN; END IF;
             SELECT system_id INTO known FROM lineage WHERE id = 1 FOR UPDATE;
             UPDATE lineage SET system_id = '{system}', timeline = {timeline}
                 WHERE system_id <> '{system}' OR timeline <> {timeline};
             IF FOUND AND known <> '' THEN
                 UPDATE schedule_version SET version = version + {HISTORY_JUMP};
             END IF;
         END $$"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(system: &str, timeline: i64) -> History {
        History { system: system.to_owned(), timeline }
    }

    #[test]
    fn an_older_timeline_of_the_same_cluster_is_refused() {
        let lineage = Lineage::default();
        assert!(lineage.is_current(&history("1", 3)));
        assert!(lineage.is_current(&history("1", 3)));
        assert!(!lineage.is_current(&history("1", 2)));
        assert!(lineage.is_current(&history("1", 4)));
        assert!(!lineage.is_current(&history("1", 3)));
    }

    #[test]
    fn another_cluster_has_timelines_of_its_own() {
        let lineage = Lineage::default();
        assert!(lineage.is_current(&history("1", 3)));
        assert!(lineage.is_current(&history("2", 1)), "restored from a dump");
    }
}
