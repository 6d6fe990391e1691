//! Rows as parameters of a statement.
//!
//! A batch of any size is written by the same statement: its rows are sent as one parameter per column (PostgreSQL,
//! `unnest`) or as one JSON document (SQLite, `json_each`). So each statement is prepared once, whatever the size of
//! the batch, and its number of parameters is fixed.

use sea_orm::sea_query::ArrayType;
use sea_orm::{Statement, Value};
use uuid::Uuid;

use crate::store::connection::dialect::Dialect;

/// The type of a column in a [`RowSet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnType {
    BigInt,
    Int,
    Small,
    Text,
    Uuid,
    /// An absent value is sent to PostgreSQL as 0, which is never a stored time.
    OptionalTime,
    /// An absent value is sent to PostgreSQL as the nil uuid.
    OptionalUuid,
}

/// A value of a column.
pub(crate) trait ColumnValue: Into<Value> {
    const TYPE: ColumnType;
}

macro_rules! column_values {
    ($($value:ty => $column:ident),*) => {
        $(impl ColumnValue for $value {
            const TYPE: ColumnType = ColumnType::$column;
        })*
    };
}

column_values!(i64 => BigInt, i32 => Int, i16 => Small, String => Text, Uuid => Uuid,
    Option<i64> => OptionalTime, Option<Uuid> => OptionalUuid);

#[derive(Debug, Clone)]
struct Column {
    name: &'static str,
    ty: ColumnType,
    values: Vec<Value>,
}

/// Rows to join with or to insert, named `r` in the statement.
#[derive(Debug, Clone)]
pub(crate) struct RowSet<R> {
    rows: Vec<R>,
    columns: Vec<Column>,
}

impl<R> RowSet<R> {
    pub(crate) fn of(rows: impl IntoIterator<Item = R>) -> Self {
        Self { rows: rows.into_iter().collect(), columns: Vec::new() }
    }

    #[must_use]
    pub(crate) fn with<V: ColumnValue>(
        mut self,
        name: &'static str,
        value: impl Fn(&R) -> V,
    ) -> Self {
        let values = self.rows.iter().map(|row| value(row).into()).collect();
        self.columns.push(Column { name, ty: V::TYPE, values });
        self
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The same columns, without the values that they were made of.
    pub(crate) fn without_source(self) -> RowSet<()> {
        RowSet { rows: self.rows.iter().map(drop).collect(), columns: self.columns }
    }

    /// Builds a statement of `before`, the rows and `after`. `values` are its parameters `$1` to `$n`; the parameters
    /// of the rows follow them.
    pub(crate) fn statement(
        self,
        dialect: Dialect,
        mut values: Vec<Value>,
        before: &str,
        after: &str,
    ) -> Statement {
        let source = self.source(dialect, &mut values);
        dialect.statement(format!("{before} {source} {after}"), values)
    }

    /// The rows as a part of a statement, named `r`. Adds their parameters to those that the statement has.
    pub(crate) fn source(self, dialect: Dialect, values: &mut Vec<Value>) -> String {
        let first = values.len() + 1;
        match dialect {
            Dialect::Postgres => {
                let source = self.unnest(first);
                values.extend(self.columns.into_iter().map(Column::array));
                source
            }
            Dialect::Sqlite => {
                values.push(self.json().into());
                self.json_each(first)
            }
        }
    }

    fn unnest(&self, first: usize) -> String {
        let fields: Vec<String> = self.columns.iter().map(Column::select_expression).collect();
        let arrays = (first..).zip(&self.columns);
        let arrays: Vec<String> =
            arrays.map(|(n, column)| format!("${n}::{}[]", column.ty.postgres().0)).collect();
        let names: Vec<&str> = self.columns.iter().map(|column| column.name).collect();
        let fields = fields.join(", ");
        let arrays = arrays.join(", ");
        let names = names.join(", ");
        format!("(SELECT {fields} FROM unnest({arrays}) AS u ({names})) AS r")
    }

    fn json_each(&self, parameter: usize) -> String {
        let field = |(at, Column { name, ty, .. }): (usize, &Column)| match ty {
            ColumnType::Uuid | ColumnType::OptionalUuid => {
                format!("unhex(value->>{at}) AS {name}")
            }
            _ => format!("value->>{at} AS {name}"),
        };
        let fields: Vec<String> = self.columns.iter().enumerate().map(field).collect();
        format!("(SELECT {} FROM json_each(${parameter})) AS r", fields.join(", "))
    }

    fn json(&self) -> String {
        let row =
            |at: usize| self.columns.iter().map(|column| json(column.values.get(at))).collect();
        let rows: Vec<serde_json::Value> = (0..self.rows.len()).map(row).collect();
        serde_json::Value::Array(rows).to_string()
    }
}

impl ColumnType {
    /// The PostgreSQL type of the column's values, for SQL and for the driver.
    fn postgres(self) -> (&'static str, ArrayType) {
        match self {
            Self::BigInt | Self::OptionalTime => ("bigint", ArrayType::BigInt),
            Self::Int => ("integer", ArrayType::Int),
            Self::Small => ("smallint", ArrayType::SmallInt),
            Self::Text => ("text", ArrayType::String),
            Self::Uuid | Self::OptionalUuid => ("uuid", ArrayType::Uuid),
        }
    }
}

impl Column {
    fn select_expression(&self) -> String {
        let name = self.name;
        match self.ty {
            ColumnType::OptionalTime => format!("nullif(u.{name}, 0) AS {name}"),
            ColumnType::OptionalUuid => {
                format!("nullif(u.{name}, '00000000-0000-0000-0000-000000000000') AS {name}")
            }
            _ => format!("u.{name}"),
        }
    }

    fn array(self) -> Value {
        let present = |value| match value {
            Value::BigInt(None) => 0_i64.into(),
            Value::Uuid(None) => Uuid::nil().into(),
            present => present,
        };
        let values = self.values.into_iter().map(present).collect();
        Value::Array(self.ty.postgres().1, Some(Box::new(values)))
    }
}

fn json(value: Option<&Value>) -> serde_json::Value {
    match value {
        Some(Value::BigInt(number)) => (*number).into(),
        Some(Value::Int(number)) => (*number).into(),
        Some(Value::SmallInt(number)) => (*number).into(),
        Some(Value::String(text)) => text.clone().into(),
        Some(Value::Uuid(uuid)) => uuid.map(|uuid| uuid.simple().to_string()).into(),
        _ => serde_json::Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> RowSet<(i32, Option<Uuid>)> {
        RowSet::of([(7, None), (8, Some(Uuid::from_u128(1)))])
            .with("number", |row| row.0)
            .with("hold_id", |row| row.1)
    }

    #[test]
    fn the_text_of_a_statement_does_not_depend_on_the_number_of_rows() {
        let one = RowSet::of([1]).with("number", |number| *number);
        let many = RowSet::of(0..500).with("number", |number| *number);
        for dialect in [Dialect::Postgres, Dialect::Sqlite] {
            let sql = |rows: &RowSet<i32>| {
                rows.clone().statement(dialect, vec![5.into()], "SELECT", "").sql
            };
            assert_eq!(sql(&one), sql(&many));
        }
    }

    #[test]
    fn rows_are_arrays_for_postgres_and_a_document_for_sqlite() {
        let statement = rows().statement(Dialect::Postgres, vec![1.into()], "SELECT * FROM", "");
        assert!(statement.sql.contains("unnest($2::integer[], $3::uuid[])"), "{}", statement.sql);
        let statement = rows().statement(Dialect::Sqlite, vec![1.into()], "SELECT * FROM", "");
        assert!(statement.sql.contains("json_each($2)"), "{}", statement.sql);
        let join = Dialect::Sqlite.join_by_key("seat", "s", &["number"]);
        let joined = rows().statement(Dialect::Sqlite, Vec::new(), "SELECT * FROM", &join);
        assert!(joined.sql.contains("AS r CROSS JOIN seat s"), "{}", joined.sql);
        let document = r#"[[7,null],[8,"00000000000000000000000000000001"]]"#;
        assert_eq!(statement.values.unwrap().0.last(), Some(&Value::from(document)));
    }
}
