//! Lua scripts. They are called by their hash; `pipeline.rs` loads them into a server that does not have them.

use deadpool_redis::redis::{self, Cmd, Script as Hasher};

/// A script and its hash.
#[derive(Debug, Clone)]
pub struct Script {
    text: &'static str,
    hash: String,
}

impl Script {
    /// Computes the hash.
    #[must_use]
    pub fn new(text: &'static str) -> Self {
        Self { hash: Hasher::new(text).get_hash().to_owned(), text }
    }

    /// A command that calls the script by its hash, with these keys. Arguments are added with [`Cmd::arg`]. In a
    /// cluster the keys must have the same hash tag.
    #[must_use]
    pub fn call(&self, keys: impl ExactSizeIterator<Item = String>) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.hash).arg(keys.len());
        for key in keys {
            command.arg(key);
        }
        command
    }

    /// The command that loads the script into a server.
    pub(super) fn load(&self) -> Cmd {
        let mut command = redis::cmd("SCRIPT");
        command.arg("LOAD").arg(self.text);
        command
    }
}
