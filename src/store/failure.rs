//! What a database error means for the batch that met it: one table, for both databases.

use sea_orm::{DbErr, RuntimeErr, sqlx};

/// The meaning of a database error. Sources: PostgreSQL manual appendix A, SQLite result codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Lost to another transaction (serialization failure, deadlock, busy file): run it again.
    Again,
    /// A unique index held: the rows seen were not the rows there are.
    Unique,
    /// Something in the data cannot be stored: halve the batch until the culprit stands alone.
    Data,
    /// The prepared statement is out of date, a migration ran: run it again on a new connection.
    Stale,
    /// The server does not accept writes (a standby, or a primary that was demoted).
    ReadOnly,
    /// The server is away, full, too slow or shutting down; nothing is wrong with the batch.
    Unavailable,
}

/// Reads the meaning of an error. Anything unknown counts as unavailable: it is answered by 503, and is
/// neither retried nor halved.
pub(crate) fn meaning(error: &DbErr) -> Meaning {
    let Some(database) = database_error(error) else { return Meaning::Unavailable };
    let Some(code) = database.code() else { return Meaning::Unavailable };
    if database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
        postgres(&code)
    } else {
        sqlite(&code)
    }
}

fn postgres(code: &str) -> Meaning {
    match code {
        "40001" | "40P01" => Meaning::Again,
        "23505" => Meaning::Unique,
        "25006" => Meaning::ReadOnly,
        "0A000" | "26000" => Meaning::Stale,
        _ if code.starts_with("22") || code.starts_with("23") => Meaning::Data,
        _ => Meaning::Unavailable,
    }
}

fn sqlite(code: &str) -> Meaning {
    const CONSTRAINT: i64 = 19;
    let Ok(extended) = code.parse::<i64>() else { return Meaning::Unavailable };
    match (extended & 0xff, extended) {
        (5 | 6, _) => Meaning::Again,
        (_, 1555 | 2067) => Meaning::Unique,
        (CONSTRAINT | 18 | 20, _) => Meaning::Data,
        (8, _) => Meaning::ReadOnly,
        (17, _) => Meaning::Stale,
        _ => Meaning::Unavailable,
    }
}

/// The constraint that an error names, if it names one.
pub(crate) fn constraint(error: &DbErr) -> Option<String> {
    let database = database_error(error)?;
    let named = database.constraint().map(str::to_owned);
    named.or_else(|| Some(database.message().to_owned()))
}

/// Whether an error in answer to COMMIT means that nothing was committed. A server that breaks down while
/// it flushes the commit record answers, too, and may find that record again when it recovers.
pub(crate) fn refused_commit(error: &DbErr) -> bool {
    let definite = [Meaning::Again, Meaning::Unique, Meaning::Data, Meaning::ReadOnly];
    answered_by_server(error) && definite.contains(&meaning(error))
}

/// Whether the server itself answered with an error, as opposed to not being there.
pub(crate) fn answered_by_server(error: &DbErr) -> bool {
    database_error(error).is_some()
}

/// Whether the connection that was used is gone, which says nothing about the server: it may have been cut
/// long ago, while it waited in the pool.
pub(crate) fn lost_connection(error: &DbErr) -> bool {
    let (DbErr::Exec(runtime) | DbErr::Query(runtime)) = error else { return false };
    let RuntimeErr::SqlxError(error) = runtime else { return false };
    match &**error {
        sqlx::Error::Io(_) => true,
        error => {
            let code = error.as_database_error().and_then(|error| error.code());
            matches!(code.as_deref(), Some("57P01" | "57P02"))
        }
    }
}

/// Whether the server ended a statement because of a limit of time: `lock_timeout`, `statement_timeout` or
/// `idle_in_transaction_session_timeout`.
pub(crate) fn timed_out(error: &DbErr) -> bool {
    let code = database_error(error).and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| ["55P03", "57014", "25P03"].contains(&&*code))
}

fn database_error(error: &DbErr) -> Option<&(dyn sqlx::error::DatabaseError + 'static)> {
    let (DbErr::Conn(runtime) | DbErr::Exec(runtime) | DbErr::Query(runtime)) = error else {
        return None;
    };
    let RuntimeErr::SqlxError(error) = runtime else { return None };
    error.as_database_error()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgres_states_have_one_meaning_each() {
        let table = [
            ("40001", Meaning::Again),
            ("40P01", Meaning::Again),
            ("23505", Meaning::Unique),
            ("23514", Meaning::Data),
            ("22021", Meaning::Data),
            ("25006", Meaning::ReadOnly),
            ("0A000", Meaning::Stale),
            ("26000", Meaning::Stale),
            ("55P03", Meaning::Unavailable),
            ("57014", Meaning::Unavailable),
            ("53100", Meaning::Unavailable),
            ("57P01", Meaning::Unavailable),
            ("08006", Meaning::Unavailable),
        ];
        for (code, expected) in table {
            assert_eq!(postgres(code), expected, "{code}");
        }
    }

    #[test]
    fn sqlite_codes_have_one_meaning_each() {
        let table = [
            ("5", Meaning::Again),
            ("517", Meaning::Again),
            ("2067", Meaning::Unique),
            ("1555", Meaning::Unique),
            ("275", Meaning::Data),
            ("8", Meaning::ReadOnly),
            ("17", Meaning::Stale),
            ("13", Meaning::Unavailable),
            ("778", Meaning::Unavailable),
        ];
        for (code, expected) in table {
            assert_eq!(sqlite(code), expected, "{code}");
        }
    }
}
