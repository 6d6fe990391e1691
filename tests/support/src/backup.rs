//! Backups of a PostgreSQL server, made and restored with PostgreSQL's own tools, as operators do.

use std::path::PathBuf;
use std::time::Duration;

use crate::cluster::{self, program};
use crate::folder::Folder;
use crate::postgres::Postgres;
use crate::tool::{command, run};
use crate::wait::holds_within;

/// How long recovery may take on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// One database as statements, by `pg_dump`.
pub struct Dump {
    folder: Folder,
}

/// All files of a server, with the write-ahead log that is needed to restore them, by `pg_basebackup`.
pub struct BaseBackup {
    folder: Folder,
}

impl Dump {
    fn file(&self) -> PathBuf {
        self.folder.path().join("seatlock.dump")
    }
}

impl Postgres {
    /// Dumps the database at this address. Other sessions may use it meanwhile.
    pub fn dump(&self, address: &str) -> Dump {
        let dump = Dump { folder: Folder::new() };
        let line = command![program("pg_dump"), "--format=custom", "--file", dump.file(), address];
        run(dump.folder.path(), &line);
        dump
    }

    /// Restores a dump, which may be of another server, into a new database of this server. Returns its address.
    pub fn restore(&self, dump: &Dump) -> String {
        let address = self.create_database();
        let line = command![
            program("pg_restore"),
            "--exit-on-error",
            "--no-owner",
            "--dbname",
            &address,
            dump.file()
        ];
        run(dump.folder.path(), &line);
        address
    }

    /// Copies all files of the server. Other sessions may use it meanwhile.
    pub fn base_backup(&self) -> BaseBackup {
        let backup = BaseBackup { folder: Folder::new() };
        cluster::copy(backup.folder.path(), self.port(), &[]);
        backup
    }

    /// Starts a server on the files of a backup. It recovers to the end of the backup, and begins a new timeline.
    #[must_use]
    pub fn recover(backup: BaseBackup) -> Self {
        let BaseBackup { folder } = backup;
        let signal = folder.path().join("data/recovery.signal");
        std::fs::write(&signal, "").unwrap_or_else(|error| panic!("{}: {error}", signal.display()));
        // There is no archive: only the log in the backup is replayed.
        let settings = [("restore_command", "false"), ("recovery_target_timeline", "current")];
        let server = Self::run(folder, "postgresql.auto.conf", &settings, None);
        let over = || server.psql("postgres", "SELECT pg_is_in_recovery()") == "f";
        assert!(holds_within(TIMEOUT, over), "the recovery does not end: {}", server.log());
        server
    }

    /// Starts a server on the files of a backup as if they were a snapshot of the disk, on the timeline of the original.
    #[must_use]
    pub fn run_copy(backup: BaseBackup) -> Self {
        Self::run(backup.folder, "postgresql.auto.conf", &[], None)
    }

    /// The address on this server of the database with the same name as in the address on another server.
    pub fn address_of(&self, elsewhere: &str) -> String {
        self.address(elsewhere.rsplit('/').next().unwrap_or_default())
    }
}
