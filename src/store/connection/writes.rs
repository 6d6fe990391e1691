//! Writes of several tables that are sent together.

use sea_orm::{Statement, Value};

use super::dialect::Dialect;
use super::row_set::RowSet;
use super::session::Transaction;
use crate::store::connection::DbResult;

/// Writes of several tables, one set of rows each.
///
/// PostgreSQL and Citus get them in one round trip, as the data-modifying parts of one `WITH` statement
/// (<https://www.postgresql.org/docs/current/queries-with.html>). These parts see one snapshot, and their order is not
/// defined. So no write may depend on another one. SQLite has no such statement and no round trips: it gets one
/// statement for each write.
pub(crate) struct Writes {
    shared: Vec<Value>,
    writes: Vec<Write>,
}

struct Write {
    table: &'static str,
    rows: RowSet<()>,
    before: String,
    after: String,
}

impl Writes {
    /// Begins an empty set of writes. `shared` are the parameters `$1` to `$n` of all of them.
    pub(crate) fn new(shared: Vec<Value>) -> Self {
        Self { shared, writes: Vec::new() }
    }

    /// Adds a write, unless it has no rows. Its statement is `before`, the rows as `r`, and `after`.
    pub(crate) fn add<R>(
        &mut self,
        table: &'static str,
        rows: RowSet<R>,
        before: impl Into<String>,
        after: impl Into<String>,
    ) {
        if rows.len() > 0 {
            let (rows, before, after) = (rows.without_source(), before.into(), after.into());
            self.writes.push(Write { table, rows, before, after });
        }
    }

    /// The statement for PostgreSQL and Citus. It returns the place of each write and the number of rows that it wrote.
    fn statement(self, dialect: Dialect) -> Statement {
        let mut values = self.shared;
        let mut parts = Vec::with_capacity(self.writes.len());
        let mut counts = Vec::with_capacity(self.writes.len());
        for (place, Write { rows, before, after, .. }) in self.writes.into_iter().enumerate() {
            let rows = match before.starts_with("INSERT") {
                true => rows.source_to_insert(dialect, &mut values),
                false => rows.source(dialect, &mut values),
            };
            parts.push(format!("w{place} AS ({before} {rows} {after} RETURNING 1)"));
            counts.push(format!("SELECT {place}::bigint, count(*) FROM w{place}"));
        }
        let sql = format!("WITH {} {}", parts.join(", "), counts.join(" UNION ALL "));
        dialect.statement(sql, values)
    }
}

impl Transaction {
    /// Sends the writes. Returns the first table in which another number of rows was written than there are rows.
    pub(crate) async fn write_all(&self, writes: Writes) -> DbResult<Option<&'static str>> {
        if writes.writes.is_empty() {
            return Ok(None);
        }
        let expected: Vec<(&'static str, u64)> =
            writes.writes.iter().map(|write| (write.table, write.rows.len() as u64)).collect();
        let written = match self.dialect {
            Dialect::Postgres | Dialect::Citus => self.write_together(writes).await?,
            Dialect::Sqlite => self.write_one_by_one(writes).await?,
        };
        let mut pairs = expected.into_iter().zip(written);
        Ok(pairs.find(|((_, rows), written)| rows != written).map(|((table, _), _)| table))
    }

    async fn write_together(&self, writes: Writes) -> DbResult<Vec<u64>> {
        let mut written = vec![0; writes.writes.len()];
        for (place, rows) in
            self.fetch_statement::<(i64, i64)>(writes.statement(self.dialect)).await?
        {
            let place = usize::try_from(place).ok().and_then(|place| written.get_mut(place));
            if let (Some(count), Ok(rows)) = (place, u64::try_from(rows)) {
                *count = rows;
            }
        }
        Ok(written)
    }

    async fn write_one_by_one(&self, writes: Writes) -> DbResult<Vec<u64>> {
        let mut written = Vec::with_capacity(writes.writes.len());
        for Write { rows, before, after, .. } in writes.writes {
            written.push(self.write(rows, writes.shared.clone(), &before, &after).await?);
        }
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_writes_are_one_statement_of_postgres_with_parameters_of_their_own() {
        let numbers = |name| RowSet::of([7, 8]).with(name, |number: &i64| *number);
        let mut writes = Writes::new(vec![1.into(), 2.into()]);
        writes.add("a", numbers("x"), "INSERT INTO a SELECT r.x, $1 FROM", "");
        writes.add("none", RowSet::of([]).with("x", |n: &i64| *n), "INSERT INTO none", "");
        writes.add("b", numbers("y"), "UPDATE b SET y = $2 FROM", "WHERE b.y = r.y");
        let statement = writes.statement(Dialect::Postgres);
        let sql = "WITH w0 AS (INSERT INTO a SELECT r.x, $1 FROM \
             (SELECT u.x FROM unnest($3::bigint[]) AS u (x)) AS r  RETURNING 1), \
             w1 AS (UPDATE b SET y = $2 FROM \
             (SELECT u.y FROM unnest($4::bigint[]) AS u (y)) AS r WHERE b.y = r.y RETURNING 1) \
             SELECT 0::bigint, count(*) FROM w0 UNION ALL SELECT 1::bigint, count(*) FROM w1";
        assert_eq!(statement.sql, sql);
        assert_eq!(statement.values.unwrap().0.len(), 4);
    }
}
