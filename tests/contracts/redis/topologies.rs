//! The contract of the seat locks on every topology of Redis, and the round trip itself.

use std::sync::OnceLock;

use seatlock::domain::ids::ScheduleId;
use seatlock::lock::{LockReply, SeatLocks};
use seatlock::redis::{Redis, RedisFailure, RedisSettings, Tls, Topology, Value, cmd};
use test_support::{Access, RedisCluster, Sentinels};

use super::fixtures::{
    LONG_ROUND_TRIP, ask, at, by_sentinels, fresh, guarded, locks, of_cluster, settings, standalone,
};
use crate::locks::lock_contract;

/// Servers that the tests of one contract share.
struct Shared<T> {
    access: Access,
    servers: T,
}

/// A server whose default user may do nothing, so that a login without the user's name is refused.
fn server_with_users() -> &'static test_support::Redis {
    static SERVER: OnceLock<test_support::Redis> = OnceLock::new();
    let users = [("user", "shop on >sesame ~* &* +@all"), ("user", "default off")];
    SERVER.get_or_init(|| test_support::Redis::start(&users))
}

fn login() -> RedisSettings {
    let topology = Topology::Standalone { address: at(server_with_users().port()), db: 7 };
    let login = settings(topology, &Access::by_password("sesame"), LONG_ROUND_TRIP);
    RedisSettings { username: Some("shop".to_owned()), ..login }
}

fn encrypted_server() -> &'static Shared<test_support::Redis> {
    static SERVER: OnceLock<Shared<test_support::Redis>> = OnceLock::new();
    SERVER.get_or_init(|| {
        let access = Access::encrypted("sesame");
        Shared { servers: test_support::Redis::start_with(&[], &access), access }
    })
}

/// Sentinels with a password of their own.
fn sentinels() -> &'static Shared<Sentinels> {
    static SENTINELS: OnceLock<Shared<Sentinels>> = OnceLock::new();
    SENTINELS.get_or_init(|| {
        let access = Access::by_password("sesame");
        Shared { servers: Sentinels::start(&access, Some("barley")), access }
    })
}

fn encrypted_sentinels() -> &'static Shared<Sentinels> {
    static SENTINELS: OnceLock<Shared<Sentinels>> = OnceLock::new();
    SENTINELS.get_or_init(|| {
        let access = Access::encrypted("sesame");
        Shared { servers: Sentinels::start(&access, None), access }
    })
}

fn cluster() -> &'static Shared<RedisCluster> {
    static CLUSTER: OnceLock<Shared<RedisCluster>> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let access = Access::by_password("sesame");
        Shared { servers: RedisCluster::start(&access, false), access }
    })
}

fn encrypted_cluster() -> &'static Shared<RedisCluster> {
    static CLUSTER: OnceLock<Shared<RedisCluster>> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let access = Access::encrypted("sesame");
        Shared { servers: RedisCluster::start(&access, false), access }
    })
}

impl Shared<Sentinels> {
    fn settings(&self, password: Option<&str>) -> RedisSettings {
        by_sentinels(&self.servers, &self.access, password, LONG_ROUND_TRIP)
    }
}

impl Shared<RedisCluster> {
    fn settings(&self) -> RedisSettings {
        of_cluster(&self.servers, &self.access, LONG_ROUND_TRIP)
    }
}

mod full {
    use super::*;

    mod seat_locks_standalone {
        use super::*;

        lock_contract!(
            tokio::test,
            &locks(&standalone(test_support::Redis::shared(), &Access::default()))
        );
    }

    mod seat_locks_behind_the_guard {
        use super::*;

        lock_contract!(
            tokio::test,
            &*guarded(&standalone(test_support::Redis::shared(), &Access::default()))
        );
    }

    mod seat_locks_with_user_and_database {
        use super::*;

        lock_contract!(tokio::test, &locks(&login()));
    }

    mod seat_locks_encrypted {
        use super::*;

        lock_contract!(
            tokio::test,
            &locks(&standalone(&encrypted_server().servers, &encrypted_server().access))
        );
    }

    mod seat_locks_by_sentinels {
        use super::*;

        lock_contract!(tokio::test, &locks(&sentinels().settings(Some("barley"))));
    }

    mod seat_locks_by_encrypted_sentinels {
        use super::*;

        lock_contract!(tokio::test, &locks(&encrypted_sentinels().settings(None)));
    }

    mod seat_locks_in_a_cluster {
        use super::*;

        lock_contract!(tokio::test, &locks(&cluster().settings()));
    }

    mod seat_locks_in_an_encrypted_cluster {
        use super::*;

        lock_contract!(tokio::test, &locks(&encrypted_cluster().settings()));
    }

    #[tokio::test]
    async fn the_user_and_the_database_of_the_settings_are_used() {
        let default_user = RedisSettings { username: None, ..login() };
        assert!(ask(&locks(&default_user), fresh(ScheduleId(1), 1)).await.is_err());
        let reply = ask(&locks(&login()), fresh(ScheduleId(1), 1)).await;
        assert_eq!(reply, Ok(LockReply::Acquired));
        let keys = ["--user", "shop", "--pass", "sesame", "--no-auth-warning", "info", "keyspace"];
        let keys = server_with_users().cli(&keys);
        assert!(keys.contains("db7:keys=") && !keys.contains("db0:"), "{keys}");
    }

    #[tokio::test]
    async fn a_client_without_the_right_authority_does_not_connect() {
        let Shared { access, servers } = encrypted_server();
        let encrypted = standalone(servers, access);
        let reply = ask(&locks(&encrypted), fresh(ScheduleId(1), 1)).await;
        assert_eq!(reply, Ok(LockReply::Acquired));
        for tls in [None, Some(Tls::default()), Some(another_authority())] {
            let other = locks(&RedisSettings { tls, ..encrypted.clone() });
            assert!(ask(&other, fresh(ScheduleId(1), 1)).await.is_err());
        }
    }

    fn another_authority() -> Tls {
        let other = test_support::Certificates::new();
        Tls { ca: Some(std::fs::read_to_string(other.ca()).unwrap()) }
    }

    #[tokio::test]
    async fn sentinels_are_asked_with_their_own_password_and_the_master_with_its_database() {
        let right = locks(&sentinels().settings(Some("barley")));
        assert_eq!(ask(&right, fresh(ScheduleId(1), 1)).await, Ok(LockReply::Acquired));
        let wrong = locks(&sentinels().settings(Some("rye")));
        assert!(ask(&wrong, fresh(ScheduleId(1), 1)).await.is_err());
        assert!(sentinels().servers.master().cli(&["info", "keyspace"]).contains("db3:keys="));
    }

    #[tokio::test]
    async fn locks_are_spread_over_all_nodes_of_a_cluster() {
        let locks = locks(&cluster().settings());
        for schedule in 1..=100 {
            let reply = ask(&locks, fresh(ScheduleId(schedule), 2)).await;
            assert_eq!(reply, Ok(LockReply::Acquired));
        }
        for node in cluster().servers.nodes() {
            assert_ne!(node.cli(&["dbsize"]), "0");
        }
    }

    #[tokio::test]
    async fn commands_of_all_slots_are_answered_in_order() {
        let cluster = RedisCluster::start(&Access::default(), false);
        let redis = Redis::new(&of_cluster(&cluster, &Access::default(), LONG_ROUND_TRIP)).unwrap();
        let key = |number: i64| format!("key {}", number / 3);
        let commands: Vec<_> = (0..300)
            .map(|number| {
                let mut command = cmd(if number % 3 == 1 { "GETSET" } else { "SET" });
                command.arg(key(number)).arg(number);
                if number % 3 == 2 { cmd("PING") } else { command }
            })
            .collect();
        let answers = redis.send(&commands).await.unwrap();
        for (number, answer) in (0..300).zip(answers) {
            let expected = match number % 3 {
                0 => Value::Okay,
                // The value that the command before has set.
                1 => Value::BulkString((number - 1).to_string().into_bytes()),
                _ => Value::SimpleString("PONG".to_owned()),
            };
            assert_eq!(answer, Ok(expected), "{number}");
        }
    }

    #[tokio::test]
    async fn the_error_of_one_command_does_not_affect_the_others() {
        let redis = Redis::new(&standalone(test_support::Redis::shared(), &Access::default()));
        let mut wrong = cmd("INCR");
        wrong.arg("seat");
        let mut set = cmd("SET");
        set.arg("seat").arg("held");
        let answers = redis.unwrap().send(&[set, wrong, cmd("PING")]).await.unwrap();
        let succeeded: Vec<bool> = answers.iter().map(Result::is_ok).collect();
        assert_eq!(succeeded, [true, false, true], "{answers:?}");
    }

    #[tokio::test]
    async fn scripts_that_a_server_has_lost_are_loaded_again() {
        let single = test_support::Redis::start(&[]);
        let alone = locks(&standalone(&single, &Access::default()));
        let cluster = RedisCluster::start(&Access::default(), false);
        let many = locks(&of_cluster(&cluster, &Access::default(), LONG_ROUND_TRIP));
        let requests: Vec<_> = (1..=30).map(|number| fresh(ScheduleId(number), 2)).collect();
        for _ in 0..3 {
            for locks in [&alone, &many] {
                // An acquire accepts its own lock, so an effect of a first attempt would not be seen.
                let replies = locks.run(&requests).await;
                assert_eq!(replies, Ok(vec![LockReply::Acquired; requests.len()]));
            }
            single.cli(&["script", "flush"]);
            for node in cluster.nodes() {
                node.cli(&["script", "flush"]);
            }
        }
        single.restart();
        // Its old connections are dead, which costs at most one error.
        let first = alone.run(&requests).await;
        let again = alone.run(&requests).await;
        assert_eq!(again, Ok(vec![LockReply::Acquired; requests.len()]), "after {first:?}");
    }

    #[tokio::test]
    async fn an_unreachable_server_is_an_immediate_error() {
        let nowhere = at(test_support::free_port());
        let topologies = [
            Topology::Standalone { address: nowhere.clone(), db: 0 },
            Topology::Cluster { seeds: vec![nowhere.clone()] },
            Topology::Sentinel {
                sentinels: vec![nowhere],
                master: "seats".to_owned(),
                password: None,
                db: 0,
            },
        ];
        for topology in topologies {
            let redis =
                Redis::new(&settings(topology, &Access::default(), LONG_ROUND_TRIP)).unwrap();
            let failure = redis.send(&[cmd("PING")]).await.unwrap_err();
            assert!(matches!(failure, RedisFailure::Backend(_)), "{failure:?}");
        }
    }
}
