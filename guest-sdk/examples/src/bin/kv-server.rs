//! Keeps numbers for whoever asks: a service with several clients, each over a channel of its own.
#![no_std]
#![no_main]

use shikiri_channel::{Listener, Moment, Port, Window, Windows};
use shikiri_examples::store::{Full, SERVICE, Store, StoreServer};
use shikiri_rpc::{Context, Dispatch as _, Leg, Patience, PeerGone, Server};
use shikiri_rpc_channel::Wire;
use shikiri_rt::{Lock, irq, println, sleep};

shikiri_rt::entry!(main);

/// The interrupts of the listener and of the clients' ports: SPIs that no device has.
const LISTENER: u32 = 64;
const FIRST_PORT: u32 = 65;
const CLIENTS: usize = 8;
const KEYS: usize = 64;

type Client = Server<'static, Wire<'static>>;

/// Keys and their numbers.
struct Table(Lock<[Option<(u16, u32)>; KEYS]>);

impl Store for Table {
    fn get(&self, key: u16) -> Option<u32> {
        let rows = self.0.lock();
        rows.iter().flatten().find(|(there, _)| *there == key).map(|(_, value)| *value)
    }

    fn put(&self, key: u16, value: u32) -> Result<Option<u32>, Full> {
        let mut rows = self.0.lock();
        if let Some((_, there)) = rows.iter_mut().flatten().find(|(there, _)| *there == key) {
            return Ok(Some(core::mem::replace(there, value)));
        }
        let free = rows.iter_mut().find(|row| row.is_none()).ok_or(Full)?;
        *free = Some((key, value));
        Ok(None)
    }
}

fn main() {
    irq::unmask();
    let Ok(windows) = Windows::map() else { return println!("kv: no window region") };
    let listener = match Listener::new(LISTENER) {
        Ok(listener) => listener,
        Err(why) => return println!("kv: no listener: {why:?}"),
    };
    println!("kv: serving");
    let service = StoreServer(Table(Lock::new([None; KEYS])));
    let mut clients: [Option<Client>; CLIENTS] = [const { None }; CLIENTS];
    let mut context = Context::<64>::new();
    let mut served = 0_u64;
    loop {
        // What happens from here on ends the sleep below.
        let before = moments(&listener, &clients);
        let mut has_worked = accept(&listener, windows, &mut clients);
        for place in &mut clients {
            let result = place.as_ref().map(|client| serve(client, &mut context, &service));
            match result {
                Some(Ok(true)) => {
                    served += 1;
                    has_worked = true;
                }
                Some(Err(PeerGone)) => {
                    *place = None;
                    has_worked = true;
                    println!("kv: a client has left; {served} calls so far");
                }
                Some(Ok(false)) | None => {}
            }
        }
        if served > 0 && clients.iter().all(Option::is_none) {
            return println!("kv: nobody is left");
        }
        if !has_worked {
            sleep::until_there(|| (moments(&listener, &clients) != before).then_some(()));
        }
    }
}

/// Serves the next call, if one has come.
fn serve(
    client: &Client,
    context: &mut Context<64>,
    service: &StoreServer<Table>,
) -> Result<bool, PeerGone> {
    let request = client.receive(context)?;
    let has_come = request.is_some();
    if let Some(request) = request {
        service.dispatch(request);
    }
    Ok(has_come)
}

/// What changes when something comes from anybody.
fn moments(
    listener: &Listener,
    clients: &[Option<Client>; CLIENTS],
) -> (Moment, [Option<Moment>; CLIENTS]) {
    let of_client = |client: &Client| client.leg().transport().channel().moment();
    (listener.moment(), clients.each_ref().map(|client| client.as_ref().map(of_client)))
}

/// Connects the next client that asks, if there is one.
fn accept(listener: &Listener, windows: Windows, clients: &mut [Option<Client>]) -> bool {
    let Ok(Some(request)) = listener.try_next() else { return false };
    // A request that is dropped is refused.
    let free = clients.iter_mut().zip(FIRST_PORT..).find(|(place, _)| place.is_none());
    let Some((place, intid)) = free.filter(|_| request.service == SERVICE) else { return true };
    let port = Port::new(windows, Window::of_short_messages(), intid);
    let Ok(port) = port else { return true };
    let from = request.from;
    if let Ok(channel) = request.accept(port) {
        println!("kv: partition {} is connected", from.0);
        *place = Some(Server::new(Leg::new(Wire::new(channel)), Patience::Wait));
    }
    true
}
