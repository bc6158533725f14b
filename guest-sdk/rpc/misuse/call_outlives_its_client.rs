//! error[E0505]: a call in flight is finished before its client goes.
#![no_main]

use shikiri_rpc::{Client, Transport};

pub fn keep<T: Transport>(client: Client<'_, T, 4>) {
    let pending = client.begin::<_, u32>(1, &());
    drop(client);
    drop(pending);
}
