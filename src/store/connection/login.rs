//! How to log in to a PostgreSQL server. A password may change while the service runs: it is then read again from its
//! file, or printed again by its command, for new connections.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sea_orm::sqlx::ConnectOptions as _;
use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::{ConnectOptions, DbErr};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use crate::store::connection::DbResult;
use crate::telemetry::redaction;

/// The name of this program's sessions in `pg_stat_activity`.
pub(crate) const APPLICATION: &str = "seatlock";

/// A file is read again after this time, before the next connection may be needed.
const FILE_LIFETIME: Duration = Duration::from_secs(1);

/// The least time between two attempts after a failure, and after a login that failed.
const RETRY: Duration = Duration::from_secs(5);

/// How long a command may run.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes of a password, and of what a command prints.
const LENGTH_MAX: u64 = 64 * 1_024;

/// The most characters of a command's error that are logged.
const ERROR_MAX: usize = 300;

/// Where the password of a PostgreSQL server comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordSource {
    /// The URL contains it, or none is needed.
    Url,
    /// The file contains the whole URL.
    UrlFile(PathBuf),
    /// This text, whatever the URL contains.
    Text(String),
    /// The file contains it.
    File(PathBuf),
    /// A program, followed by its arguments, prints it. It is used for new connections for this long.
    Command(Vec<String>, Duration),
}

/// A server, and the newest password for it. All connections to the server share it.
pub struct Login {
    url: String,
    source: PasswordSource,
    state: Mutex<State>,
    /// Locked while the password is read.
    reading: tokio::sync::Mutex<()>,
}

/// The options of a connection with the newest password, and their number, which changes with them.
pub(crate) type Newest = (u64, Arc<PgConnectOptions>);

#[derive(Default)]
struct State {
    newest: Option<Newest>,
    secret: String,
    /// Why there are no options yet.
    failure: String,
    read_at: Option<Instant>,
    /// When the password is read again; `None` for immediately.
    due_at: Option<Instant>,
    /// No connection could be made with the newest password.
    is_doubted: bool,
}

impl State {
    fn is_due(&self) -> bool {
        self.due_at.is_none_or(|at| at <= Instant::now())
    }
}

impl Login {
    /// A server at this URL. Reads nothing yet.
    #[must_use]
    pub fn new(url: impl Into<String>, source: PasswordSource) -> Arc<Self> {
        let (state, reading) = Default::default();
        Arc::new(Self { url: url.into(), source, state, reading })
    }

    /// The URL as it was given.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The login, if its password may change.
    pub(crate) fn changing(self: &Arc<Self>) -> Option<Arc<Self>> {
        let is_fixed = matches!(self.source, PasswordSource::Url | PasswordSource::Text(_));
        (!is_fixed).then(|| Arc::clone(self))
    }

    /// Sets a fixed password in the options of a pool.
    pub(crate) fn set_fixed(&self, options: &mut ConnectOptions) {
        if let PasswordSource::Text(password) = &self.source {
            let password = password.clone();
            options.map_sqlx_postgres_opts(move |options| options.password(&password));
        }
    }

    /// Sets the newest password in the options of a pool that is opened for a short time.
    pub(crate) async fn set_newest(self: &Arc<Self>, options: &mut ConnectOptions) -> DbResult<()> {
        if self.changing().is_some() {
            let (_, newest) = self.newest().await?;
            options.map_sqlx_postgres_opts(move |_| PgConnectOptions::clone(&newest));
        }
        Ok(())
    }

    /// The options for a new connection. Reads the password if it is due. While a command runs, the password before is
    /// used, unless no connection could be made with it.
    pub(crate) async fn newest(self: &Arc<Self>) -> DbResult<Newest> {
        let (newest, must_wait) = {
            let state = self.state.lock();
            match &state.newest {
                Some(newest) if !state.is_due() => return Ok(newest.clone()),
                None if !state.is_due() => return Err(DbErr::Custom(state.failure.clone())),
                newest => (newest.clone(), state.is_doubted),
            }
        };
        let is_slow = matches!(self.source, PasswordSource::Command(..));
        if let (Some(newest), true, false) = (newest, is_slow, must_wait) {
            if self.reading.try_lock().is_ok() {
                tokio::spawn(Arc::clone(self).refresh());
            }
            return Ok(newest);
        }
        // In a task of its own: the caller may stop waiting.
        let refreshed = tokio::spawn(Arc::clone(self).refresh()).await;
        refreshed
            .map_err(|panic| DbErr::Custom(format!("reading the password panicked: {panic}")))?
    }

    /// Records that no connection could be made. The password may have changed, so it is read again soon.
    pub(crate) fn doubt(&self) {
        let mut state = self.state.lock();
        if let Some(read_at) = state.read_at {
            state.is_doubted = true;
            state.due_at = state.due_at.map(|due_at| due_at.min(read_at + RETRY));
        }
    }

    /// Reads the password, unless another task has just done so.
    async fn refresh(self: Arc<Self>) -> DbResult<Newest> {
        let _reading = self.reading.lock().await;
        {
            let state = self.state.lock();
            if let (Some(newest), false) = (&state.newest, state.is_due()) {
                return Ok(newest.clone());
            }
        }
        let read = self.read().await;
        let now = Instant::now();
        let mut state = self.state.lock();
        state.read_at = Some(now);
        state.due_at = Some(now + if read.is_ok() { self.lifetime() } else { RETRY });
        match read {
            Ok((secret, options)) => {
                state.is_doubted = false;
                let number = state.newest.as_ref().map_or(0, |(number, _)| *number);
                if state.secret != secret || state.newest.is_none() {
                    redaction::register_changing(&secret);
                    state.secret = secret;
                    state.newest = Some((number + 1, Arc::new(options)));
                }
            }
            Err(error) if state.newest.is_some() => {
                log::warn!("{error}; the password that was read before is still used");
            }
            Err(error) => state.failure = error,
        }
        state.newest.clone().ok_or_else(|| DbErr::Custom(state.failure.clone()))
    }

    fn lifetime(&self) -> Duration {
        match self.source {
            PasswordSource::Command(_, lifetime) => lifetime,
            _ => FILE_LIFETIME,
        }
    }

    /// Returns the secret and the options with it. The error names the file or the command, and contains no secret.
    async fn read(&self) -> Result<(String, PgConnectOptions), String> {
        let secret = match &self.source {
            PasswordSource::Url => self.url.clone(),
            PasswordSource::Text(password) => password.clone(),
            PasswordSource::UrlFile(path) | PasswordSource::File(path) => read_file(path).await?,
            PasswordSource::Command(words, _) => run(words).await?,
        };
        let is_url = matches!(self.source, PasswordSource::Url | PasswordSource::UrlFile(_));
        let url = if is_url { &secret } else { &self.url };
        // The text of the driver's error is not used, since it may contain a part of the URL.
        let options = url.trim().parse::<PgConnectOptions>();
        let options =
            options.map_err(|_| "the file of the database's URL has no URL".to_owned())?;
        let options = options.application_name(APPLICATION).disable_statement_logging();
        let options = if is_url { options } else { options.password(&secret) };
        Ok((secret, options))
    }
}

async fn read_file(path: &Path) -> Result<String, String> {
    let failed = |why: &str| format!("the password file {}: {why}", path.display());
    let file = File::open(path).await.map_err(|error| failed(&error.to_string()))?;
    let text = read_text(file).await.map_err(|error| failed(&error.to_string()))?;
    without_line_end(&text).ok_or_else(|| failed("it is empty"))
}

/// Runs the command and returns what it prints.
async fn run(words: &[String]) -> Result<String, String> {
    let (program, arguments) = words.split_first().ok_or("the password command is empty")?;
    let failed = |why: &str| format!("the password command {program}: {why}");
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().map_err(|e| failed(&e.to_string()))?;
    let (printed, complaint) = (child.stdout.take(), child.stderr.take());
    let (Some(printed), Some(complaint)) = (printed, complaint) else {
        return Err(failed("it has no output"));
    };
    let all = async { tokio::join!(read_text(printed), read_text(complaint), child.wait()) };
    let Ok((printed, complaint, ended)) = tokio::time::timeout(COMMAND_TIMEOUT, all).await else {
        let seconds = COMMAND_TIMEOUT.as_secs();
        return Err(failed(&format!("it was ended because it ran for more than {seconds} s")));
    };
    let ended = ended.map_err(|error| failed(&error.to_string()))?;
    if !ended.success() {
        let complaint = complaint.unwrap_or_default();
        let last = complaint.lines().rev().find(|line| !line.trim().is_empty());
        let last: String = last.unwrap_or_default().trim().chars().take(ERROR_MAX).collect();
        return Err(failed(&format!("{ended}: {last}")));
    }
    let printed = printed.map_err(|error| failed(&error.to_string()))?;
    without_line_end(&printed).ok_or_else(|| failed("it printed no password"))
}

async fn read_text(source: impl AsyncRead + Unpin) -> std::io::Result<String> {
    let mut text = String::new();
    source.take(LENGTH_MAX).read_to_string(&mut text).await?;
    Ok(text)
}

/// The text without line ends at its end; `None` if nothing is left.
fn without_line_end(text: &str) -> Option<String> {
    let text = text.trim_end_matches(['\r', '\n']);
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(script: &str) -> Arc<Login> {
        let words = ["sh", "-c", script].map(str::to_owned).to_vec();
        let source = PasswordSource::Command(words, Duration::from_secs(3_600));
        Login::new("postgres://u@db/s", source)
    }

    async fn failure(script: &str) -> String {
        command(script).newest().await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn a_command_runs_once_until_its_password_is_due_or_doubted() {
        let folder = std::env::temp_dir().join(format!("seatlock-login-{}", std::process::id()));
        let script = format!("echo x >> {0}; wc -l < {0}", folder.display());
        let login = command(&script);
        let (first, _) = login.newest().await.unwrap();
        assert_eq!(login.newest().await.unwrap().0, first);
        let lines = || std::fs::read_to_string(&folder).unwrap().lines().count();
        assert_eq!(lines(), 1);
        login.state.lock().read_at = Some(Instant::now() - RETRY);
        login.doubt();
        assert_eq!(login.newest().await.unwrap().0, first + 1, "the password is another one");
        assert_eq!(lines(), 2);
        std::fs::remove_file(folder).unwrap();
    }

    #[tokio::test]
    async fn a_command_that_fails_is_reported_without_what_it_printed() {
        let error = failure("echo hunter2; echo first >&2; echo no credentials >&2; exit 3").await;
        assert!(error.ends_with("sh: exit status: 3: no credentials"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        assert!(failure("true").await.ends_with("it printed no password"));
        let login = Login::new(
            "postgres://u@db/s",
            PasswordSource::Command(vec!["/none".to_owned()], Duration::from_secs(1)),
        );
        let error = login.newest().await.unwrap_err().to_string();
        assert!(error.contains("the password command /none: No such file"), "{error}");
    }

    #[tokio::test]
    async fn a_failure_is_not_tried_again_immediately_and_an_earlier_password_is_kept() {
        let login = command("exit 1");
        login.newest().await.unwrap_err();
        assert!(!login.state.lock().is_due());
        login.newest().await.unwrap_err();
        let path = std::env::temp_dir().join(format!("seatlock-password-{}", std::process::id()));
        std::fs::write(&path, "one\n").unwrap();
        let login = Login::new("postgres://u@db/s", PasswordSource::File(path.clone()));
        let first = login.newest().await.unwrap().0;
        std::fs::remove_file(&path).unwrap();
        login.state.lock().due_at = None;
        assert_eq!(login.newest().await.unwrap().0, first);
    }
}
