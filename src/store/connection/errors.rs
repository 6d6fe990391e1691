//! Classes of database errors: one table for both databases.

use sea_orm::{DbErr, RuntimeErr, sqlx};

/// The classes of database errors, by what a batch can do about them. Sources: PostgreSQL manual appendix A, SQLite
/// result codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorClass {
    /// Another transaction was first (serialization failure, deadlock, busy file): run the batch again.
    Retry,
    /// A unique index refused a row, since another transaction has written a row with the same key.
    Unique,
    /// A value cannot be stored: bisect the batch until its command is found.
    Data,
    /// The driver or the server refuses the statement itself: a fault of this program.
    Refused,
    /// The prepared statement is out of date after a migration: run the batch again on a new connection.
    Stale,
    /// The server is read-only (a standby, or a primary that was demoted).
    ReadOnly,
    /// A connection was ended, perhaps that of a Citus coordinator to a worker: run the batch again.
    Interrupted,
    /// The server cannot be reached, is full, too slow or shutting down; the batch is not the cause.
    Unavailable,
}

/// The class of an error. An unknown error is [`ErrorClass::Unavailable`]: it leads to a 503, and the batch is
/// neither retried nor bisected.
pub(crate) fn classify(error: &DbErr) -> ErrorClass {
    let Some(error) = sqlx_error(error) else { return ErrorClass::Unavailable };
    let Some(database) = error.as_database_error() else { return driver(error) };
    let Some(code) = database.code() else { return ErrorClass::Unavailable };
    if database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
        postgres(&code)
    } else {
        sqlite(&code, database.message())
    }
}

/// The class of an error that the driver found without an answer of the server. Most protocol errors are faults of
/// the connection, but too many parameters are a fault of the statement.
fn driver(error: &sqlx::Error) -> ErrorClass {
    match error {
        sqlx::Error::Protocol(text) if text.contains("too many") => ErrorClass::Refused,
        sqlx::Error::InvalidArgument(_)
        | sqlx::Error::TypeNotFound { .. }
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::Encode(_)
        | sqlx::Error::Decode(_) => ErrorClass::Refused,
        _ => ErrorClass::Unavailable,
    }
}

fn postgres(code: &str) -> ErrorClass {
    match code {
        "40001" | "40P01" => ErrorClass::Retry,
        "08000" | "08001" | "08003" | "08006" | "57P01" | "57P02" => ErrorClass::Interrupted,
        "23505" => ErrorClass::Unique,
        "25006" => ErrorClass::ReadOnly,
        "0A000" | "26000" => ErrorClass::Stale,
        "08P01" | "42601" => ErrorClass::Refused,
        _ if code.starts_with("54") => ErrorClass::Refused,
        _ if code.starts_with("22") || code.starts_with("23") => ErrorClass::Data,
        _ => ErrorClass::Unavailable,
    }
}

fn sqlite(code: &str, message: &str) -> ErrorClass {
    const CONSTRAINT: i64 = 19;
    let Ok(extended) = code.parse::<i64>() else { return ErrorClass::Unavailable };
    match (extended & 0xff, extended) {
        (5 | 6, _) => ErrorClass::Retry,
        (_, 1555 | 2067) => ErrorClass::Unique,
        (CONSTRAINT | 18 | 20, _) => ErrorClass::Data,
        (8, _) => ErrorClass::ReadOnly,
        (17, _) => ErrorClass::Stale,
        (21 | 25, _) => ErrorClass::Refused,
        // SQLite has one code for every fault of a statement and for a schema that lacks a table.
        (1, _) if message.contains("too many") || message.contains("syntax error") => {
            ErrorClass::Refused
        }
        _ => ErrorClass::Unavailable,
    }
}

/// The constraint that an error names, if it names one.
pub(crate) fn constraint(error: &DbErr) -> Option<String> {
    let database = database_error(error)?;
    let named = database.constraint().map(str::to_owned);
    named.or_else(|| Some(database.message().to_owned()))
}

/// Whether an error that COMMIT returned means that nothing was committed. A server that fails while it flushes the
/// commit record also returns an error, and may find that record again when it recovers.
pub(crate) fn refused_commit(error: &DbErr) -> bool {
    let definite = [ErrorClass::Retry, ErrorClass::Unique, ErrorClass::Data, ErrorClass::ReadOnly];
    answered_by_server(error) && definite.contains(&classify(error))
}

/// Whether the server itself answered with an error.
pub(crate) fn answered_by_server(error: &DbErr) -> bool {
    database_error(error).is_some()
}

/// The text of an error, with the remedy if a certificate was refused.
pub(crate) fn with_remedy(error: &DbErr) -> String {
    let text = error.to_string();
    let remedy = if text.contains("UnknownIssuer") || text.contains("BadSignature") {
        "the certificate of the server is signed by an authority that is not trusted here: name the file of \
         the provider's authorities by sslrootcert= in the URL"
    } else if text.contains("not valid for name") || text.contains("NotValidForName") {
        "the certificate of the server is for another name: use the name that the provider gives in the URL"
    } else if text.contains("server does not support TLS") {
        "sslmode in the URL requires TLS: turn it on in the server"
    } else {
        return text;
    };
    format!("{text}; {remedy}")
}

/// Whether the connection was lost. The server may still be available: the connection may have been cut long ago,
/// while it was idle in the pool.
pub(crate) fn lost_connection(error: &DbErr) -> bool {
    if matches!(error, DbErr::Conn(_)) {
        return false;
    }
    match sqlx_error(error) {
        None => false,
        Some(sqlx::Error::Io(_)) => true,
        Some(error) => {
            let code = error.as_database_error().and_then(|error| error.code());
            matches!(code.as_deref(), Some("57P01" | "57P02"))
        }
    }
}

/// Whether the server ended a statement because of a time limit: `lock_timeout`, `statement_timeout` or
/// `idle_in_transaction_session_timeout`.
pub(crate) fn timed_out(error: &DbErr) -> bool {
    let code = database_error(error).and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| ["55P03", "57014", "25P03"].contains(&&*code))
}

fn database_error(error: &DbErr) -> Option<&(dyn sqlx::error::DatabaseError + 'static)> {
    sqlx_error(error)?.as_database_error()
}

fn sqlx_error(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => Some(&**error),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn postgres_states_have_one_class_each() {
        let table = [
            ("40001", ErrorClass::Retry),
            ("40P01", ErrorClass::Retry),
            ("23505", ErrorClass::Unique),
            ("23514", ErrorClass::Data),
            ("22021", ErrorClass::Data),
            ("25006", ErrorClass::ReadOnly),
            ("0A000", ErrorClass::Stale),
            ("26000", ErrorClass::Stale),
            ("55P03", ErrorClass::Unavailable),
            ("57014", ErrorClass::Unavailable),
            ("53100", ErrorClass::Unavailable),
            ("57P01", ErrorClass::Interrupted),
            ("08006", ErrorClass::Interrupted),
            ("08P01", ErrorClass::Refused),
            ("42601", ErrorClass::Refused),
            ("42P01", ErrorClass::Unavailable),
            ("54000", ErrorClass::Refused),
            ("54023", ErrorClass::Refused),
        ];
        for (code, expected) in table {
            assert_eq!(postgres(code), expected, "{code}");
        }
    }

    #[test]
    fn a_refused_certificate_has_a_remedy() {
        let text = |error: &str| with_remedy(&DbErr::Custom(error.to_owned()));
        for (error, remedy) in [
            ("invalid peer certificate: UnknownIssuer", "sslrootcert="),
            ("invalid peer certificate: BadSignature", "sslrootcert="),
            ("certificate not valid for name \"db\"", "the name that the provider gives"),
            ("server does not support TLS", "turn it on in the server"),
        ] {
            assert!(text(error).contains(remedy), "{error}");
        }
        assert!(text("password authentication failed").ends_with("failed"));
    }

    #[test]
    fn sqlite_codes_have_one_class_each() {
        let table = [
            ("5", ErrorClass::Retry),
            ("517", ErrorClass::Retry),
            ("2067", ErrorClass::Unique),
            ("1555", ErrorClass::Unique),
            ("275", ErrorClass::Data),
            ("8", ErrorClass::ReadOnly),
            ("17", ErrorClass::Stale),
            ("13", ErrorClass::Unavailable),
            ("778", ErrorClass::Unavailable),
            ("21", ErrorClass::Refused),
            ("25", ErrorClass::Refused),
        ];
        for (code, expected) in table {
            assert_eq!(sqlite(code, "any"), expected, "{code}");
        }
        for (message, expected) in [
            ("too many SQL variables", ErrorClass::Refused),
            ("near \"FORM\": syntax error", ErrorClass::Refused),
            ("no such table: seat", ErrorClass::Unavailable),
        ] {
            assert_eq!(sqlite("1", message), expected, "{message}");
        }
    }

    #[test]
    fn a_statement_that_the_driver_refuses_is_a_fault_of_this_program() {
        let class = |error| classify(&DbErr::Query(RuntimeErr::SqlxError(Arc::new(error))));
        let many = "PgConnection::run(): too many arguments for query: 70000";
        assert_eq!(class(sqlx::Error::Protocol(many.to_owned())), ErrorClass::Refused);
        assert_eq!(class(sqlx::Error::ColumnNotFound("label".to_owned())), ErrorClass::Refused);
        let cut = "unexpected ReadyForQuery";
        assert_eq!(class(sqlx::Error::Protocol(cut.to_owned())), ErrorClass::Unavailable);
        assert_eq!(class(sqlx::Error::PoolTimedOut), ErrorClass::Unavailable);
        assert_eq!(class(sqlx::Error::WorkerCrashed), ErrorClass::Unavailable);
    }
}
