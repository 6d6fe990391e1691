//! The same promises on every form of Redis, and the round trip itself.

use seatlock::domain::ids::ScheduleId;
use seatlock::lock::{LockReply, SeatLocks};
use seatlock::redis::{Form, Redis, RedisFailure, Tls, Value, cmd};
use test_support::{Access, RedisCluster, Sentinels};

use super::stand::{
    PATIENCE, ask, at, by_sentinels, fresh, guarded, locks, of_cluster, settings, standalone,
};
use crate::locks::every_promise;

mod full {
    use super::*;

    #[tokio::test]
    async fn seat_locks_in_redis_keep_every_promise() {
        let redis = test_support::Redis::shared();
        every_promise(&locks(&standalone(redis, &Access::default()))).await;
    }

    #[tokio::test]
    async fn seat_locks_behind_the_guard_keep_every_promise() {
        let redis = test_support::Redis::shared();
        every_promise(&*guarded(&standalone(redis, &Access::default()))).await;
    }

    #[tokio::test]
    async fn seat_locks_behind_user_password_and_database_keep_every_promise() {
        // The default user can do nothing: whoever forgets the name is found out.
        let users = [("user", "shop on >sesame ~* &* +@all"), ("user", "default off")];
        let redis = test_support::Redis::start(&users);
        let form = Form::Standalone { address: at(redis.port()), db: 7 };
        let mut login = settings(form, &Access::by_password("sesame"), PATIENCE);
        assert!(ask(&locks(&login), fresh(ScheduleId(1), 1)).await.is_err(), "as default user");
        login.username = Some("shop".to_owned());
        every_promise(&locks(&login)).await;
        let keys = ["--user", "shop", "--pass", "sesame", "--no-auth-warning", "info", "keyspace"];
        let keys = redis.cli(&keys);
        assert!(keys.contains("db7:keys=") && !keys.contains("db0:"), "{keys}");
    }

    #[tokio::test]
    async fn encrypted_seat_locks_keep_every_promise() {
        let access = Access::encrypted("sesame");
        let redis = test_support::Redis::start_with(&[], &access);
        let encrypted = standalone(&redis, &access);
        every_promise(&locks(&encrypted)).await;
        let strangers = [None, Some(Tls::default()), Some(another_authority())];
        for tls in strangers {
            let stranger = locks(&seatlock::redis::RedisSettings { tls, ..encrypted.clone() });
            assert!(ask(&stranger, fresh(ScheduleId(1), 1)).await.is_err());
        }
    }

    fn another_authority() -> Tls {
        let other = test_support::Certificates::new();
        Tls { ca: Some(std::fs::read_to_string(other.ca()).unwrap()) }
    }

    #[tokio::test]
    async fn seat_locks_behind_sentinels_keep_every_promise() {
        let access = Access::by_password("sesame");
        let all = Sentinels::start(&access, Some("barley"));
        let right = by_sentinels(&all, &access, Some("barley"), PATIENCE);
        every_promise(&locks(&right)).await;
        let wrong = by_sentinels(&all, &access, Some("rye"), PATIENCE);
        assert!(ask(&locks(&wrong), fresh(ScheduleId(1), 1)).await.is_err());
        assert!(all.master().cli(&["info", "keyspace"]).contains("db3:keys="));
    }

    #[tokio::test]
    async fn encrypted_seat_locks_behind_sentinels_keep_every_promise() {
        let access = Access::encrypted("sesame");
        let all = Sentinels::start(&access, None);
        every_promise(&locks(&by_sentinels(&all, &access, None, PATIENCE))).await;
    }

    #[tokio::test]
    async fn seat_locks_in_a_cluster_keep_every_promise() {
        let access = Access::by_password("sesame");
        let cluster = RedisCluster::start(&access, false);
        let locks = locks(&of_cluster(&cluster, &access, PATIENCE));
        for _ in 0..3 {
            // Each time on other schedules, so on other nodes.
            every_promise(&locks).await;
        }
        for node in cluster.nodes() {
            assert_ne!(node.cli(&["dbsize"]), "0", "every node has had locks");
        }
    }

    #[tokio::test]
    async fn encrypted_seat_locks_in_a_cluster_keep_every_promise() {
        let access = Access::encrypted("sesame");
        let cluster = RedisCluster::start(&access, false);
        every_promise(&locks(&of_cluster(&cluster, &access, PATIENCE))).await;
    }

    #[tokio::test]
    async fn commands_of_all_slots_are_answered_in_their_places() {
        let cluster = RedisCluster::start(&Access::default(), false);
        let redis = Redis::new(&of_cluster(&cluster, &Access::default(), PATIENCE)).unwrap();
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
                // What the command before has set.
                1 => Value::BulkString((number - 1).to_string().into_bytes()),
                _ => Value::SimpleString("PONG".to_owned()),
            };
            assert_eq!(answer, Ok(expected), "{number}");
        }
    }

    #[tokio::test]
    async fn the_error_of_one_command_is_its_own() {
        let redis = Redis::new(&standalone(test_support::Redis::shared(), &Access::default()));
        let mut wrong = cmd("INCR");
        wrong.arg("seat");
        let mut set = cmd("SET");
        set.arg("seat").arg("held");
        let answers = redis.unwrap().send(&[set, wrong, cmd("PING")]).await.unwrap();
        let well: Vec<bool> = answers.iter().map(Result::is_ok).collect();
        assert_eq!(well, [true, false, true], "{answers:?}");
    }

    #[tokio::test]
    async fn forgotten_scripts_are_loaded_again() {
        let single = test_support::Redis::start(&[]);
        let alone = locks(&standalone(&single, &Access::default()));
        let cluster = RedisCluster::start(&Access::default(), false);
        let many = locks(&of_cluster(&cluster, &Access::default(), PATIENCE));
        let requests: Vec<_> = (1..=30).map(|number| fresh(ScheduleId(number), 2)).collect();
        for _ in 0..3 {
            for locks in [&alone, &many] {
                // An acquire finds its own lock: had the first try an effect, nobody would see it.
                let replies = locks.run(&requests).await;
                assert_eq!(replies, Ok(vec![LockReply::Acquired; requests.len()]));
            }
            single.cli(&["script", "flush"]);
            for node in cluster.nodes() {
                node.cli(&["script", "flush"]);
            }
        }
        single.restart();
        // Its old connections are dead; that costs one error at most.
        let first = alone.run(&requests).await;
        let again = alone.run(&requests).await;
        assert_eq!(again, Ok(vec![LockReply::Acquired; requests.len()]), "after {first:?}");
    }

    #[tokio::test]
    async fn nobody_there_is_an_error_at_once() {
        let nowhere = at(test_support::free_port());
        let forms = [
            Form::Standalone { address: nowhere.clone(), db: 0 },
            Form::Cluster { seeds: vec![nowhere.clone()] },
            Form::Sentinel {
                sentinels: vec![nowhere],
                master: "seats".to_owned(),
                password: None,
                db: 0,
            },
        ];
        for form in forms {
            let redis = Redis::new(&settings(form, &Access::default(), PATIENCE)).unwrap();
            let failure = redis.send(&[cmd("PING")]).await.unwrap_err();
            assert!(matches!(failure, RedisFailure::Backend(_)), "{failure:?}");
        }
    }
}
