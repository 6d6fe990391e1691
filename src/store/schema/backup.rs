//! A copy of the SQLite database while it is being written. PostgreSQL has its own tools.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fs, io};

use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use sea_orm::sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};

use crate::domain::execution_error::{StoreError, StoreResult};
use crate::store::connection::connect::literal;
use crate::store::connection::{Target, files};
use crate::store::{Settings, Store};

impl Store {
    /// Copies the database to a new file and flushes the file to the disk. The copy has every transaction that was
    /// committed when the copy began. It is marked as a copy, so that a service that opens it begins a new history.
    /// The file gets its name when it is complete. Only its owner may read it. Returns the size in bytes.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] for PostgreSQL, for a file that exists, for one that cannot be written.
    pub async fn back_up(settings: &Settings, to: &Path) -> StoreResult<u64> {
        let Target::Sqlite { path } = &settings.target else {
            let remedy =
                "postgresql has its own tools: pg_basebackup or pg_dump (docs/operations.md)";
            return Err(StoreError::Unfit(remedy.to_owned()));
        };
        let unfit = |why: &dyn std::fmt::Display| {
            StoreError::Unfit(format!("{} cannot be written: {why}", to.display()))
        };
        if to.exists() {
            return Err(unfit(&"it is there already"));
        }
        let mut partial = OsString::from(to);
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        remove(&partial).and_then(|()| files::create(&partial)).map_err(|error| unfit(&error))?;
        if let Err(error) = copy(path, &partial).await {
            let _ = remove(&partial);
            return Err(unfit(&error));
        }
        publish(&partial, to).map_err(|error| unfit(&error))
    }
}

async fn copy(from: &Path, to: &Path) -> Result<(), sea_orm::sqlx::Error> {
    let source = SqliteConnectOptions::new().filename(literal(from)).read_only(true);
    let mut source: SqliteConnection = source.connect().await?;
    let to = literal(to);
    let name = to.to_string_lossy().replace('\'', "''");
    source.execute(AssertSqlSafe(format!("VACUUM INTO '{name}'"))).await?;
    source.close().await?;
    let copy = SqliteConnectOptions::new().filename(to).synchronous(SqliteSynchronous::Full);
    let mut copy: SqliteConnection = copy.connect().await?;
    mark_as_copy(&mut copy).await?;
    copy.close().await
}

/// Marks a file as a copy: a service that opens it begins a new history.
pub(crate) async fn mark_as_copy(
    connection: &mut SqliteConnection,
) -> Result<(), sea_orm::sqlx::Error> {
    connection.execute("UPDATE lineage SET system_id = 'restored'").await?;
    Ok(())
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Flushes the complete file to the disk, then renames it. Returns its size in bytes.
fn publish(partial: &Path, to: &Path) -> io::Result<u64> {
    let file = fs::File::open(partial)?;
    file.sync_all()?;
    fs::rename(partial, to)?;
    let folder = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(file.metadata()?.len())
}
