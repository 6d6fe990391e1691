//! The command line from its users' view: the program itself, in an empty folder, with only the environment that a
//! test sets.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod program;

mod embedded {
    //! Tests without servers: SQLite, locks in the process.

    mod backup;
    mod bench;
    mod commands;
    mod configuration;
    mod files;
    mod import;
    mod import_csv;
    mod keys;
    mod log;
    mod manager;
    mod serve;
    mod stop;
    mod uploads;
}

mod full;
