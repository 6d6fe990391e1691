//! The command line as its users see it: the program itself, in an empty folder, with nothing in its
//! environment but what a test gives it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod program;

mod embedded {
    //! What needs no server: SQLite, locks in the process.

    mod backup;
    mod commands;
    mod configuration;
    mod files;
    mod import;
    mod import_csv;
    mod log;
    mod manager;
    mod serve;
    mod stop;
    mod uploads;
}

mod full;
