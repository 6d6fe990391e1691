//! Rows as parameters of a statement.
//!
//! A batch of any size is written by the same statement: its rows are sent as one parameter per column (PostgreSQL,
//! `unnest`) or as one JSON document (SQLite, `json_each`). So each statement is prepared once, whatever the size of
//! the batch, and its number of parameters is fixed.
//!
//! If all rows have the same schedule, PostgreSQL gets the schedule as one constant instead of an array. Citus finds the
//! worker of a statement by this constant.

use sea_orm::sea_query::ArrayType;
use sea_orm::{Statement, Value};
use uuid::Uuid;

use crate::domain::ids::ScheduleId;
use crate::store::connection::dialect::Dialect;

/// The type of a column in a [`RowSet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnType {
    /// A constant if it is the same in all rows.
    Schedule,
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

impl From<ScheduleId> for Value {
    fn from(id: ScheduleId) -> Self {
        id.0.into()
    }
}

column_values!(ScheduleId => Schedule, i64 => BigInt, i32 => Int, i16 => Small, String => Text, Uuid => Uuid,
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
    schedule_if_empty: Option<ScheduleId>,
}

/// The statement that a set of rows is a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Join,
    Insert,
}

impl<R> RowSet<R> {
    pub(crate) fn of(rows: impl IntoIterator<Item = R>) -> Self {
        let rows = rows.into_iter().collect();
        Self { rows, columns: Vec::new(), schedule_if_empty: None }
    }

    /// The schedule of a set that may have no rows: the statement needs it to find the worker.
    #[must_use]
    pub(crate) fn or_of(self, schedule: Option<ScheduleId>) -> Self {
        Self { schedule_if_empty: schedule, ..self }
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
        let rows = self.rows.iter().map(drop).collect();
        RowSet { rows, columns: self.columns, schedule_if_empty: self.schedule_if_empty }
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
        self.source_for(Purpose::Join, dialect, values)
    }

    /// Like [`Self::source`], of an `INSERT` in a batch.
    pub(crate) fn source_to_insert(self, dialect: Dialect, values: &mut Vec<Value>) -> String {
        self.source_for(Purpose::Insert, dialect, values)
    }

    fn source_for(self, purpose: Purpose, dialect: Dialect, values: &mut Vec<Value>) -> String {
        let first = values.len() + 1;
        match dialect {
            Dialect::Postgres | Dialect::Citus => {
                let schedule = self.only_schedule();
                let source = self.unnest(first, schedule.is_some(), purpose, dialect);
                values.extend(self.columns.into_iter().map(|column| match schedule {
                    Some(schedule) if column.ty == ColumnType::Schedule => schedule.into(),
                    _ => column.array(),
                }));
                source
            }
            Dialect::Sqlite => {
                values.push(self.json().into());
                self.json_each(first)
            }
        }
    }

    /// The schedule of all rows; `None` if they have several, or no column of this type. Rows that have only a schedule
    /// are an array, unless there is one.
    fn only_schedule(&self) -> Option<ScheduleId> {
        let column = self.columns.iter().find(|column| column.ty == ColumnType::Schedule)?;
        let mut values = column.values.iter();
        let Some(first) = values.next() else { return self.schedule_if_empty };
        let is_alone = self.columns.len() == 1 && self.rows.len() > 1;
        match first {
            Value::BigInt(Some(id)) if !is_alone && values.all(|value| value == first) => {
                Some(ScheduleId(*id))
            }
            _ => None,
        }
    }

    /// The rows as a sub-select. Its columns are parameters, from the number `first` on.
    ///
    /// `OFFSET 0` hides a constant schedule from PostgreSQL, which otherwise would read all rows of the schedule while a
    /// table is small, instead of looking up each row. Citus must see the constant. Citus executes an `INSERT` on the
    /// worker, and commits it without two phases, only if the schedule comes from a table that is distributed alike.
    fn unnest(&self, first: usize, constant: bool, purpose: Purpose, dialect: Dialect) -> String {
        let is_constant = |column: &Column| constant && column.ty == ColumnType::Schedule;
        let inserts_on_worker = purpose == Purpose::Insert && dialect == Dialect::Citus;
        let mut fields = Vec::new();
        let mut arrays = Vec::new();
        let mut names = Vec::new();
        let mut worker = String::new();
        for (n, column) in (first..).zip(&self.columns) {
            let (name, (ty, _)) = (column.name, column.ty.postgres());
            if is_constant(column) && inserts_on_worker {
                fields.push(format!("v.schedule_id AS {name}"));
                worker = format!(", schedule_version v WHERE v.schedule_id = ${n}");
            } else if is_constant(column) {
                fields.push(format!("${n}::{ty} AS {name}"));
            } else {
                fields.push(column.select_expression());
                arrays.push(format!("${n}::{ty}[]"));
                names.push(name);
            }
        }
        let fields = fields.join(", ");
        let hidden = if constant && dialect == Dialect::Postgres { " OFFSET 0" } else { "" };
        if arrays.is_empty() {
            return format!("(SELECT {fields}{hidden}) AS r");
        }
        let (arrays, names) = (arrays.join(", "), names.join(", "));
        format!("(SELECT {fields} FROM unnest({arrays}) AS u ({names}){worker}{hidden}) AS r")
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
            Self::Schedule | Self::BigInt | Self::OptionalTime => ("bigint", ArrayType::BigInt),
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
    fn a_schedule_that_all_rows_have_is_a_constant() {
        let set = |schedules: [i64; 2]| {
            let rows = RowSet::of(schedules).with("schedule_id", |id| ScheduleId(*id));
            rows.with("number", |_| 7_i32).or_of(Some(ScheduleId(9)))
        };
        let source = |rows: RowSet<i64>, dialect| {
            let mut values = Vec::new();
            (rows.source(dialect, &mut values), values)
        };
        let (one, values) = source(set([4, 4]), Dialect::Postgres);
        let hidden = "(SELECT $1::bigint AS schedule_id, u.number \
            FROM unnest($2::integer[]) AS u (number) OFFSET 0) AS r";
        assert_eq!(one, hidden);
        assert_eq!(values.first(), Some(&Value::from(4_i64)));
        let (one, _) = source(set([4, 4]), Dialect::Citus);
        assert_eq!(one, hidden.replace(" OFFSET 0", ""));
        let (several, _) = source(set([4, 5]), Dialect::Postgres);
        assert!(several.contains("unnest($1::bigint[], $2::integer[])"), "{several}");
        let empty = RowSet { rows: Vec::new(), ..set([4, 4]) };
        let columns = empty.columns.iter().map(|c| Column { values: Vec::new(), ..c.clone() });
        let (_, values) = source(RowSet { columns: columns.collect(), ..empty }, Dialect::Citus);
        assert_eq!(values.first(), Some(&Value::from(9_i64)));
        let inserted = set([4, 4]).source_to_insert(Dialect::Citus, &mut Vec::new());
        let on_worker = "(SELECT v.schedule_id AS schedule_id, u.number FROM \
            unnest($2::integer[]) AS u (number), schedule_version v WHERE v.schedule_id = $1) AS r";
        assert_eq!(inserted, on_worker);
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
