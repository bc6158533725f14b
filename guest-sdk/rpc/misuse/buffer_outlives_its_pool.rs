//! error[E0505]: a buffer is kept no longer than its pool.
#![no_main]

use shikiri_rpc::Pool;

pub fn keep(pool: Pool<'_>) {
    let buffer = pool.take();
    drop(pool);
    drop(buffer);
}
