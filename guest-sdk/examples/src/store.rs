//! The service of `kv-server`, as `kv-client` calls it: names and their texts.

use alloc::string::String;

/// The number by which a client asks for it: for a channel, and then for the area with the buffers.
pub const SERVICE: u32 = 1;

/// What each client shares with the server: one page, with buffers for what is larger than 8 bytes.
pub const AREA_BYTES: usize = 4096;
/// How many buffers.
pub const BUFFERS: usize = 3;
/// The most that arguments, or a result, can have.
pub const BUFFER_BYTES: usize = 1024;

shikiri_rpc::service! {
    /// Remembers texts.
    pub trait Store, stub StoreStub, server StoreServer {
        /// The text under this name.
        1: fn get(name: &str) -> Option<String>;
        /// Keeps a text under this name; whether there was one before.
        2: fn put(name: &str, text: &str) -> Result<bool, Full>;
        /// How many names there are: small enough to need no buffer.
        3: fn count() -> u32;
    }
}

/// There is no room for another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Full;
