//! A master, its replica, and three Sentinels that monitor them.

use std::fmt::Write;
use std::time::Duration;

use crate::redis::{Access, Redis};
use crate::wait::holds_within;

/// The longest time until the servers have found each other, on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The name of the master in the configuration of the Sentinels.
const NAME: &str = "seats";

/// Two servers and three Sentinels. A failover begins when two Sentinels agree that the master has not answered for two
/// seconds. (Sentinels ping once a second. With a limit of one second, they sometimes consider a master failed that
/// they have just begun to ping, and fail over needlessly.)
///
/// All of them are killed on drop and when the test process ends.
pub struct Sentinels {
    sentinels: Vec<Redis>,
    servers: [Redis; 2],
}

impl Sentinels {
    /// Starts them, and waits until the Sentinels have found each other and the replica has the data of the master.
    ///
    /// `sentinel_password` is the password of the Sentinels. Encryption is used by all of them.
    #[must_use]
    pub fn start(access: &Access, sentinel_password: Option<&str>) -> Self {
        let password = access.password.as_deref();
        // With the default delay, a replica could be promoted before it has received the data of the master.
        let mut options = vec![("repl-diskless-sync-delay", "0")];
        options.extend(password.map(|password| ("masterauth", password)));
        let master = Redis::start_with(&options, access);
        let follow = format!("127.0.0.1 {}", master.port());
        options.push(("replicaof", &follow));
        let replica = Redis::start_with(&options, access);
        let in_sync = || replica.cli(&["info", "replication"]).contains("master_link_status:up");
        assert!(holds_within(TIMEOUT, in_sync), "no replica follows: {}", replica.log());

        let mut lines = format!(
            "sentinel monitor {NAME} {follow} 2\nsentinel down-after-milliseconds {NAME} 2000\n\
             sentinel failover-timeout {NAME} 5000\n"
        );
        if let Some(password) = password {
            let _ = writeln!(lines, "sentinel auth-pass {NAME} {password}");
        }
        let password = sentinel_password.map(str::to_owned);
        let access = Access { password, certificates: access.certificates.clone() };
        let sentinels = (0..3).map(|_| Redis::start_sentinel(&lines, &access)).collect();
        let all = Self { sentinels, servers: [master, replica] };
        assert!(holds_within(TIMEOUT, || all.know_each_other()), "the sentinels stay alone");
        all
    }

    /// The name of the master in the configuration of the Sentinels.
    pub fn name(&self) -> &'static str {
        NAME
    }

    /// The Sentinels.
    pub fn sentinels(&self) -> &[Redis] {
        &self.sentinels
    }

    /// The server that most of the Sentinels name as the master now, even if it was killed.
    pub fn master(&self) -> &Redis {
        let named: Vec<String> = self.sentinels.iter().map(named).collect();
        let votes = |server: &Redis| {
            let port = server.port().to_string();
            named.iter().filter(|named| **named == port).count()
        };
        let master = self.servers.iter().find(|server| votes(server) * 2 > named.len());
        master.unwrap_or_else(|| panic!("the sentinels name {named:?}"))
    }

    /// The other server.
    pub fn replica(&self) -> &Redis {
        let [first, second] = &self.servers;
        if self.master().port() == first.port() { second } else { first }
    }

    /// Waits until one of the Sentinels names another master than `old`, and the other server has the role of a master.
    pub fn wait_for_another_master(&self, old: u16) {
        let [first, second] = &self.servers;
        let other = if first.port() == old { second } else { first };
        let port = other.port().to_string();
        let promoted = || {
            self.sentinels.iter().any(|sentinel| named(sentinel) == port)
                && other.try_cli(&["role"]).is_ok_and(|role| role.starts_with("master"))
        };
        assert!(holds_within(TIMEOUT, promoted), "no replica is promoted: {}", other.log());
    }

    /// Makes the Sentinels exchange the roles of master and replica, which both run, and waits until they have done so.
    pub fn fail_over(&self) {
        let old = self.master().port();
        let leader = self.sentinels.first().expect("there are three");
        let answer = leader.cli(&["sentinel", "failover", NAME]);
        assert_eq!(answer, "OK", "the sentinels do not fail over");
        self.wait_for_another_master(old);
    }

    fn know_each_other(&self) -> bool {
        self.sentinels.iter().all(|sentinel| {
            let known = sentinel.cli(&["sentinel", "master", NAME]);
            let lines: Vec<&str> = known.lines().collect();
            let has = |name, value| lines.windows(2).any(|pair| pair == [name, value]);
            has("num-slaves", "1") && has("num-other-sentinels", "2")
        })
    }
}

/// The port of the master that a Sentinel names.
fn named(sentinel: &Redis) -> String {
    let answer = sentinel.cli(&["sentinel", "get-master-addr-by-name", NAME]);
    answer.lines().last().unwrap_or_default().to_owned()
}
