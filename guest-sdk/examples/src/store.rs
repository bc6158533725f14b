//! The service of `kv-server`, as `kv-client` calls it.

/// The number by which a client asks for it.
pub const SERVICE: u32 = 1;

shikiri_rpc::service! {
    /// Remembers numbers.
    pub trait Store, stub StoreStub, server StoreServer {
        /// The number under this key.
        1: fn get(key: u16) -> Option<u32>;
        /// Keeps a number; the one that was there before.
        2: fn put(key: u16, value: u32) -> Result<Option<u32>, Full>;
    }
}

/// There is no room for another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Full;
