//! The few words in which PostgreSQL and SQLite differ, and rows as parameters.
//!
//! A batch of any size is written by the same statement: its rows travel as one parameter per column
//! (PostgreSQL, `unnest`) or as one JSON document (SQLite, `json_each`). So each statement is prepared
//! once, whatever the size of the batch, and no limit on the number of parameters is ever met.

use sea_orm::sea_query::ArrayType;
use sea_orm::{
    AccessMode, DbBackend, IsolationLevel, SqliteTransactionMode, Statement, TransactionOptions,
    Value,
};
use uuid::Uuid;

/// Which database speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Postgres,
    Sqlite,
}

impl Dialect {
    pub(crate) fn backend(self) -> DbBackend {
        match self {
            Self::Postgres => DbBackend::Postgres,
            Self::Sqlite => DbBackend::Sqlite,
        }
    }

    /// The database's clock now, in epoch milliseconds; not the time of BEGIN.
    pub(crate) fn now(self) -> &'static str {
        match self {
            Self::Postgres => "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint",
            Self::Sqlite => "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
        }
    }

    /// A row-lock clause. SQLite has none and needs none: `BEGIN IMMEDIATE` locks the whole file.
    pub(crate) fn lock(self, clause: &'static str) -> &'static str {
        match self {
            Self::Postgres => clause,
            Self::Sqlite => "",
        }
    }

    /// Joins a set of rows `r` with those of `table`, named `t`, that meet a condition; they are looked up for
    /// one row of the set after the other. From a plain join PostgreSQL may make a scan of the whole index, if
    /// it plans while the table is small, and keep that plan. `OFFSET 0` keeps the sub-select a sub-select.
    pub(crate) fn look_up(self, table: &str, condition: &str) -> String {
        match self {
            Self::Postgres => {
                format!(
                    "JOIN LATERAL (SELECT * FROM {table} t WHERE {condition} OFFSET 0) t ON true"
                )
            }
            Self::Sqlite => format!("JOIN {table} t ON {condition}"),
        }
    }

    /// How a writing transaction begins: SQLite takes its one write lock at once, since a transaction that
    /// reads first and writes later fails as soon as another has written in between.
    pub(crate) fn begin(self) -> TransactionOptions {
        let immediate = matches!(self, Self::Sqlite).then_some(SqliteTransactionMode::Immediate);
        TransactionOptions { sqlite_transaction_mode: immediate, ..TransactionOptions::default() }
    }

    /// How a transaction begins that reads many times and must see one moment only. SQLite's readers do so
    /// by themselves.
    pub(crate) fn snapshot(self) -> TransactionOptions {
        match self {
            Self::Postgres => TransactionOptions {
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

/// The values of one column.
#[derive(Debug, Clone)]
pub(crate) enum Column {
    BigInt(Vec<i64>),
    Int(Vec<i32>),
    Small(Vec<i16>),
    Text(Vec<String>),
    Uuid(Vec<Uuid>),
    /// Absent values travel as 0, which is no time of ours.
    MaybeTime(Vec<Option<i64>>),
    /// Absent values travel as the nil uuid.
    MaybeUuid(Vec<Option<Uuid>>),
}

/// Rows to join with or to insert, named `r` in the statement.
#[derive(Debug, Clone, Default)]
pub(crate) struct RowSet {
    columns: Vec<(&'static str, Column)>,
}

impl RowSet {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, column: Column) -> Self {
        self.columns.push((name, column));
        self
    }

    /// The statement made of `before`, the rows and `after`. `values` are its parameters `$1` to `$n`;
    /// those of the rows follow them. An `after` that begins with `JOIN` is read from the rows: in SQLite,
    /// which keeps the order of a `CROSS JOIN`, the document would otherwise be read again for each row of
    /// the table.
    pub(crate) fn statement(
        &self,
        dialect: Dialect,
        mut values: Vec<Value>,
        before: &str,
        after: &str,
    ) -> Statement {
        let first = values.len() + 1;
        let source = match dialect {
            Dialect::Postgres => {
                values.extend(self.columns.iter().map(|(_, column)| column.array()));
                self.unnest(first)
            }
            Dialect::Sqlite => {
                values.push(self.json().into());
                self.json_each(first)
            }
        };
        let order = match dialect {
            Dialect::Sqlite if after.starts_with("JOIN") => "CROSS ",
            _ => "",
        };
        dialect.statement(format!("{before} {source} {order}{after}"), values)
    }

    fn unnest(&self, first: usize) -> String {
        let fields: Vec<String> =
            self.columns.iter().map(|(name, column)| column.select_expression(name)).collect();
        let arrays: Vec<String> = (first..)
            .zip(&self.columns)
            .map(|(n, (_, column))| format!("${n}::{}[]", column.postgres_type()))
            .collect();
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        format!(
            "(SELECT {} FROM unnest({}) AS u ({})) AS r",
            fields.join(", "),
            arrays.join(", "),
            names.join(", ")
        )
    }

    fn json_each(&self, parameter: usize) -> String {
        let fields: Vec<String> = self
            .columns
            .iter()
            .enumerate()
            .map(|(at, (name, column))| match column {
                Column::Uuid(_) | Column::MaybeUuid(_) => format!("unhex(value->>{at}) AS {name}"),
                _ => format!("value->>{at} AS {name}"),
            })
            .collect();
        format!("(SELECT {} FROM json_each(${parameter})) AS r", fields.join(", "))
    }

    fn json(&self) -> String {
        let length = self.columns.first().map_or(0, |(_, column)| column.len());
        let rows: Vec<serde_json::Value> = (0..length)
            .map(|at| self.columns.iter().map(|(_, column)| column.json(at)).collect())
            .collect();
        serde_json::Value::Array(rows).to_string()
    }
}

impl Column {
    fn len(&self) -> usize {
        match self {
            Self::BigInt(values) => values.len(),
            Self::Int(values) => values.len(),
            Self::Small(values) => values.len(),
            Self::Text(values) => values.len(),
            Self::Uuid(values) => values.len(),
            Self::MaybeTime(values) => values.len(),
            Self::MaybeUuid(values) => values.len(),
        }
    }

    fn postgres_type(&self) -> &'static str {
        match self {
            Self::BigInt(_) | Self::MaybeTime(_) => "bigint",
            Self::Int(_) => "integer",
            Self::Small(_) => "smallint",
            Self::Text(_) => "text",
            Self::Uuid(_) | Self::MaybeUuid(_) => "uuid",
        }
    }

    fn select_expression(&self, name: &str) -> String {
        match self {
            Self::MaybeTime(_) => format!("nullif(u.{name}, 0) AS {name}"),
            Self::MaybeUuid(_) => {
                format!("nullif(u.{name}, '00000000-0000-0000-0000-000000000000') AS {name}")
            }
            _ => format!("u.{name}"),
        }
    }

    fn array(&self) -> Value {
        fn wrap<T: Clone + Into<Value>>(ty: ArrayType, values: &[T]) -> Value {
            Value::Array(ty, Some(Box::new(values.iter().cloned().map(Into::into).collect())))
        }
        match self {
            Self::BigInt(values) => wrap(ArrayType::BigInt, values),
            Self::Int(values) => wrap(ArrayType::Int, values),
            Self::Small(values) => wrap(ArrayType::SmallInt, values),
            Self::Text(values) => wrap(ArrayType::String, values),
            Self::Uuid(values) => wrap(ArrayType::Uuid, values),
            Self::MaybeTime(values) => {
                let values: Vec<i64> = values.iter().map(|value| value.unwrap_or(0)).collect();
                wrap(ArrayType::BigInt, &values)
            }
            Self::MaybeUuid(values) => {
                let values: Vec<Uuid> =
                    values.iter().map(|value| value.unwrap_or_default()).collect();
                wrap(ArrayType::Uuid, &values)
            }
        }
    }

    fn json(&self, at: usize) -> serde_json::Value {
        let hex = |uuid: Uuid| uuid.simple().to_string();
        match self {
            Self::BigInt(values) => values.get(at).copied().into(),
            Self::Int(values) => values.get(at).copied().into(),
            Self::Small(values) => values.get(at).copied().into(),
            Self::Text(values) => values.get(at).cloned().into(),
            Self::Uuid(values) => values.get(at).copied().map(hex).into(),
            Self::MaybeTime(values) => values.get(at).copied().flatten().into(),
            Self::MaybeUuid(values) => values.get(at).copied().flatten().map(hex).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> RowSet {
        RowSet::new()
            .with("number", Column::Int(vec![7, 8]))
            .with("hold_id", Column::MaybeUuid(vec![None, Some(Uuid::from_u128(1))]))
    }

    #[test]
    fn the_text_of_a_statement_does_not_depend_on_the_number_of_rows() {
        let one = RowSet::new().with("number", Column::Int(vec![1]));
        let many = RowSet::new().with("number", Column::Int((0..500).collect()));
        for dialect in [Dialect::Postgres, Dialect::Sqlite] {
            let sql = |rows: &RowSet| rows.statement(dialect, vec![5.into()], "SELECT", "").sql;
            assert_eq!(sql(&one), sql(&many));
        }
    }

    #[test]
    fn rows_are_arrays_for_postgres_and_a_document_for_sqlite() {
        let statement = rows().statement(Dialect::Postgres, vec![1.into()], "SELECT * FROM", "");
        assert!(statement.sql.contains("unnest($2::integer[], $3::uuid[])"), "{}", statement.sql);
        let statement = rows().statement(Dialect::Sqlite, vec![1.into()], "SELECT * FROM", "");
        assert!(statement.sql.contains("json_each($2)"), "{}", statement.sql);
        let joined = rows().statement(Dialect::Sqlite, Vec::new(), "SELECT * FROM", "JOIN seat s");
        assert!(joined.sql.ends_with("AS r CROSS JOIN seat s"), "{}", joined.sql);
        let document = r#"[[7,null],[8,"00000000000000000000000000000001"]]"#;
        assert_eq!(statement.values.unwrap().0.last(), Some(&Value::from(document)));
    }
}
