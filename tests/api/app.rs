//! The service under test, in this process: built as `main` builds it, with its own port and database, and
//! drained when the test ends.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::mpsc;
use std::thread::JoinHandle;

use seatlock::app::{App, Role};
use seatlock::config::Config;
use test_support::{Client, Database, Folder, Postgres, Redis, SOON};
use tokio::sync::oneshot;

use crate::service::PROGRAM;

/// Which backends the service runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stack {
    /// An SQLite file; seat locks in the process.
    Embedded,
    /// PostgreSQL and Redis.
    Full,
}

impl Stack {
    /// Starts the service with the usual configuration.
    pub(crate) async fn start(self) -> TestApp {
        self.start_with(&[]).await
    }

    /// Starts the service with these variables over the usual ones.
    pub(crate) async fn start_with(self, variables: &[(&str, &str)]) -> TestApp {
        let (mut all, folder, database) = match self {
            Self::Embedded => embedded(),
            Self::Full => full(Redis::shared()),
        };
        all.extend(variables.iter().map(|(name, value)| ((*name).into(), (*value).into())));
        TestApp::start(&all, folder, database).await
    }
}

type Variables = BTreeMap<String, String>;

/// Where the database is, for queries of the tests.
enum Location {
    File(std::path::PathBuf),
    Url(String),
}

fn usual(variables: &[(&str, &str)]) -> Variables {
    let usual = [("BIND", "127.0.0.1:0"), ("HTTP_WORKERS", "2")];
    usual.iter().chain(variables).map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

fn embedded() -> (Variables, Option<Folder>, Location) {
    let folder = Folder::new();
    let path = folder.path().join("seatlock.db");
    (usual(&[("SQLITE_PATH", &path.to_string_lossy())]), Some(folder), Location::File(path))
}

fn full(redis: &Redis) -> (Variables, Option<Folder>, Location) {
    let url = Postgres::shared().create_database();
    let port = redis.port().to_string();
    let number = redis.fresh_db().to_string();
    let variables = usual(&[
        ("WRITE_DB_URL", &url),
        ("REDIS_HOST", "127.0.0.1"),
        ("REDIS_PORT", &port),
        ("REDIS_DB", &number),
    ]);
    (variables, None, Location::Url(url))
}

/// The running service, with a client and a connection to its database.
pub(crate) struct TestApp {
    client: Option<Client>,
    address: SocketAddr,
    pub(crate) database: Database,
    variables: Variables,
    location: Location,
    stop: Option<oneshot::Sender<()>>,
    service: Option<JoinHandle<()>>,
    _folder: Option<Folder>,
}

impl TestApp {
    /// The full stack with the test's own Redis, which the test may stop or damage.
    pub(crate) async fn full_with_redis(redis: &Redis) -> Self {
        let (variables, folder, database) = full(redis);
        Self::start(&variables, folder, database).await
    }

    /// The full stack on a database of the test's own server, which the test may stop or damage.
    pub(crate) async fn full_on(url: &str, variables: &[(&str, &str)]) -> Self {
        let (mut all, folder, _) = full(Redis::shared());
        all.insert("WRITE_DB_URL".to_owned(), url.to_owned());
        all.extend(variables.iter().map(|(name, value)| ((*name).into(), (*value).into())));
        Self::start(&all, folder, Location::Url(url.to_owned())).await
    }

    /// The full stack on its own database and a shared Redis.
    pub(crate) async fn full_with_shared_redis(redis: (&Redis, u32)) -> Self {
        let (mut variables, folder, database) = full(redis.0);
        variables.insert("REDIS_DB".to_owned(), redis.1.to_string());
        Self::start(&variables, folder, database).await
    }

    /// Another replica of this service, in this process, too.
    pub(crate) async fn another_replica(&self) -> Self {
        self.another_replica_with(&[]).await
    }

    /// Another replica, whose variables are those of this one overridden by these.
    pub(crate) async fn another_replica_with(&self, more: &[(&str, &str)]) -> Self {
        let mut variables = self.variables.clone();
        variables.extend(more.iter().map(|(name, value)| ((*name).into(), (*value).into())));
        let location = match &self.location {
            Location::File(path) => Location::File(path.clone()),
            Location::Url(url) => Location::Url(url.clone()),
        };
        Self::start(&variables, None, location).await
    }

    async fn start(variables: &Variables, folder: Option<Folder>, location: Location) -> Self {
        let config = Config::from_vars(variables).unwrap();
        let (bound, address) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        // A thread of its own: an actix system is one, as in `main`.
        let service = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let app = App::build(&config, Role::Serve).await.unwrap();
                bound.send(app.address()).unwrap();
                app.run_until_stopped(async {
                    drop(stopped.await);
                    std::time::Duration::ZERO
                })
                .await
                .unwrap();
            });
        });
        let address = tokio::task::block_in_place(|| address.recv_timeout(SOON)).unwrap();
        let database = match &location {
            Location::File(path) => Database::sqlite(path).await,
            Location::Url(url) => Database::postgres(url).await,
        };
        let client = Some(Client::of(address));
        let (stop, service) = (Some(stop), Some(service));
        let variables = variables.clone();
        Self { client, address, database, variables, location, stop, service, _folder: folder }
    }

    /// Stops the service as a signal would: requests in progress are finished. Its database stays. Fails if the
    /// drain fails.
    pub(crate) fn drain(&mut self) {
        // Its open connections would make the drain wait for more requests.
        drop(self.client.take());
        drop(self.stop.take());
        let drained = self.service.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            drained.map(Result::unwrap);
        }
    }

    /// Checks every invariant.
    pub(crate) async fn audit(&self) {
        self.database.audit(PROGRAM).await;
    }

    /// The client, for a task of its own.
    pub(crate) fn client(&self) -> Client {
        Client::clone(self)
    }

    /// Another client, without the connections of the first.
    pub(crate) fn new_client(&self) -> Client {
        Client::of(self.address)
    }

    /// A client that sends an API key with each request.
    pub(crate) fn client_with_key(&self, key: &str) -> Client {
        Client::with_key(self.address, key)
    }
}

impl Deref for TestApp {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.client.as_ref().unwrap()
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.drain();
    }
}
