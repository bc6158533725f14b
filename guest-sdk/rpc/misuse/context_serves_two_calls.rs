//! error[E0499]: a context serves one call at a time.
#![no_main]

use shikiri_rpc::{Context, Server, Transport};

pub fn serve<T: Transport>(server: &Server<'_, T>, context: &mut Context) {
    let first = server.receive(context);
    let second = server.receive(context);
    drop((first, second));
}
