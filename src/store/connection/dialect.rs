//! The differences between PostgreSQL, Citus and SQLite.

use sea_orm::{
    AccessMode, DbBackend, IsolationLevel, SqliteTransactionMode, Statement, TransactionOptions,
    Value,
};

/// The kind of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Postgres,
    /// PostgreSQL with the extension Citus, which distributes the tables by schedule.
    Citus,
    Sqlite,
}

impl Dialect {
    pub(crate) fn backend(self) -> DbBackend {
        match self {
            Self::Postgres | Self::Citus => DbBackend::Postgres,
            Self::Sqlite => DbBackend::Sqlite,
        }
    }

    /// The database's clock now, in epoch milliseconds; not the time of BEGIN.
    pub(crate) fn now(self) -> &'static str {
        match self {
            Self::Postgres | Self::Citus => {
                "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
            }
            Self::Sqlite => "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
        }
    }

    /// A row-lock clause. SQLite has none and needs none: `BEGIN IMMEDIATE` locks the whole file.
    pub(crate) fn lock(self, clause: &'static str) -> &'static str {
        match self {
            Self::Postgres | Self::Citus => clause,
            Self::Sqlite => "",
        }
    }

    /// The condition that a row of `table` has the key of a row `r`: `columns` are its first columns, named alike in `r`.
    ///
    /// PostgreSQL answers it by one look-up in the index of the key for each row `r`, and has no other way: a plain
    /// comparison of the first column would also allow a join that reads the whole index in order, which PostgreSQL
    /// chooses while the table is small, and keeps. A statement with this condition must not be ordered by columns of
    /// `table`, for the same reason.
    pub(crate) fn key(self, table: &str, columns: &[&str]) -> String {
        let equal = |(at, column): (usize, &&str)| match at {
            0 => self.only(&format!("{table}.{column}"), &format!("r.{column}")),
            _ => format!("{table}.{column} = r.{column}"),
        };
        columns.iter().enumerate().map(equal).collect::<Vec<_>>().join(" AND ")
    }

    /// The condition that a column has a value. PostgreSQL does not conclude that all rows have the same value in this
    /// column. So it reads rows in the order of the column and others only from an index that begins with the column.
    pub(crate) fn only(self, column: &str, value: &str) -> String {
        match self {
            Self::Postgres | Self::Citus => format!("{column} = ANY (ARRAY[{value}])"),
            Self::Sqlite => format!("{column} = {value}"),
        }
    }

    /// The condition that `key` is one of those that a sub-select returns. PostgreSQL looks up each of them. For a plain
    /// `IN` it may plan a join that reads the whole table.
    pub(crate) fn one_of(self, key: &str, select: &str) -> String {
        match self {
            Self::Postgres | Self::Citus => format!("{key} = ANY (ARRAY({select}))"),
            Self::Sqlite => format!("{key} IN ({select})"),
        }
    }

    /// The condition that a row of the table `alias` has this schedule, for an index whose key is the expression
    /// `schedule_id + 0`. Citus needs the plain column to find the worker.
    pub(crate) fn of_schedule(self, alias: &str, schedule: &str) -> String {
        let by_index = format!("{alias}.schedule_id + 0 = {schedule}");
        match self {
            Self::Citus => format!("{by_index} AND {alias}.schedule_id = {schedule}"),
            Self::Postgres | Self::Sqlite => by_index,
        }
    }

    /// The condition, in addition to their key, that rows of two tables are of one schedule. On Citus they are then on one
    /// worker. Elsewhere the key suffices, and a batch of several schedules has one row in the table `batch`.
    pub(crate) fn same_schedule(self, left: &str, right: &str) -> String {
        match self {
            Self::Citus => format!("AND {left}.schedule_id = {right}.schedule_id"),
            Self::Postgres | Self::Sqlite => String::new(),
        }
    }

    /// Whether lanes of several processes take turns. SQLite runs one transaction after the other; on Citus each schedule of
    /// a batch has a transaction of its own.
    pub(crate) fn has_turns(self) -> bool {
        self == Self::Postgres
    }

    /// Joins a set of rows with the rows of `table`, named `alias`, that have their keys ([`Self::key`]).
    pub(crate) fn join_by_key(self, table: &str, alias: &str, columns: &[&str]) -> String {
        format!("{} {table} {alias} ON {}", self.join(), self.key(alias, columns))
    }

    /// Joins a set of rows with a table. SQLite keeps the order of a CROSS JOIN: the set of rows is the outer loop.
    /// Otherwise SQLite may read the document of the rows again for each row of the table.
    pub(crate) fn join(self) -> &'static str {
        match self {
            Self::Postgres | Self::Citus => "JOIN",
            Self::Sqlite => "CROSS JOIN",
        }
    }

    /// Joins a set of rows `r` with the rows `t` of `table` that meet a condition, by one lookup for each row of the
    /// set. PostgreSQL may plan a plain join as a scan of the whole index while the table is small, and keep that
    /// plan. `OFFSET 0` prevents PostgreSQL from merging the sub-select into the outer query.
    pub(crate) fn look_up(self, table: &str, condition: &str) -> String {
        match self {
            Self::Postgres | Self::Citus => {
                format!(
                    "JOIN LATERAL (SELECT * FROM {table} t WHERE {condition} OFFSET 0) t ON true"
                )
            }
            Self::Sqlite => format!("{} {table} t ON {condition}", self.join()),
        }
    }

    /// The options of a transaction that writes. SQLite takes its one write lock at the beginning: a transaction that
    /// reads first and writes later fails if another transaction has written in between.
    pub(crate) fn begin(self) -> TransactionOptions {
        let immediate = matches!(self, Self::Sqlite).then_some(SqliteTransactionMode::Immediate);
        TransactionOptions { sqlite_transaction_mode: immediate, ..TransactionOptions::default() }
    }

    /// The options of a transaction whose reads must all see one snapshot. In SQLite every transaction's reads do.
    pub(crate) fn snapshot(self) -> TransactionOptions {
        match self {
            Self::Postgres | Self::Citus => TransactionOptions {
                isolation_level: Some(IsolationLevel::RepeatableRead),
                access_mode: Some(AccessMode::ReadOnly),
                ..TransactionOptions::default()
            },
            Self::Sqlite => TransactionOptions::default(),
        }
    }

    pub(crate) fn statement(self, sql: impl Into<String>, values: Vec<Value>) -> Statement {
        Statement::from_sql_and_values(self.backend(), sql, values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_by_key_is_one_look_up_for_each_row() {
        let join = |dialect: Dialect| dialect.join_by_key("seat", "s", &["schedule_id", "number"]);
        assert_eq!(
            join(Dialect::Postgres),
            "JOIN seat s ON s.schedule_id = ANY (ARRAY[r.schedule_id]) AND s.number = r.number"
        );
        assert_eq!(
            join(Dialect::Sqlite),
            "CROSS JOIN seat s ON s.schedule_id = r.schedule_id AND s.number = r.number"
        );
    }
}
