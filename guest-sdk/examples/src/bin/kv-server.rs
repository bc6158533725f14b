//! Keeps texts for whoever asks: a service for several clients, each with a channel for small things and a shared page with
//! buffers for larger ones. It ends when all have left. On the command line: `clients=N`, how many have to come first (1).
#![no_std]
#![no_main]

extern crate alloc;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use shikiri_channel::{Area, AreaClass, Listener, Moment, Port, Request, Window, Windows};
use shikiri_examples::store::{
    AREA_BYTES, BUFFER_BYTES, BUFFERS, Full, SERVICE, Store, StoreServer,
};
use shikiri_rpc::{Context, Dispatch as _, Leg, Patience, PeerGone, Pool, Server, Side};
use shikiri_rpc_channel::{Wire, pool_part};
use shikiri_rt::event::PartitionId;
use shikiri_rt::{Lock, heap, hvc, irq, platform, println, sleep};
use shikiri_shared::{Access, Offer, Request as PageRequest, User, View};

shikiri_rt::entry!(main);

/// The interrupts of the listener and of the clients' ports: SPIs that no device has.
const LISTENER: u32 = 64;
const FIRST_PORT: u32 = 65;
const CLIENTS: usize = 4;
const NAMES: usize = 64;

/// The texts.
struct Table(Lock<BTreeMap<String, String>>);

impl Store for Table {
    fn get(&self, name: &str) -> Option<String> {
        self.0.lock().get(name).cloned()
    }

    fn put(&self, name: &str, text: &str) -> Result<bool, Full> {
        let mut texts = self.0.lock();
        if texts.len() >= NAMES && !texts.contains_key(name) {
            return Err(Full);
        }
        Ok(texts.insert(name.into(), text.into()).is_some())
    }

    fn count(&self) -> u32 {
        u32::try_from(self.0.lock().len()).unwrap_or(u32::MAX)
    }
}

/// A client that is connected.
struct Client<'o> {
    id: PartitionId,
    /// Once it has the page.
    user: Option<User>,
    server: Server<'o, Wire<'o>>,
}

fn main() {
    irq::unmask();
    heap::init(64);
    if let Err(why) = serve() {
        println!("kv: {why}");
    }
}

fn serve() -> Result<(), &'static str> {
    let windows = Windows::map().map_err(|_| "the window region cannot be mapped")?;
    let listener = Listener::new(LISTENER).map_err(|_| "nobody can be listened to")?;
    let offers: Vec<Offer> = (0..CLIENTS).filter_map(|_| offer(windows)).collect();
    println!("kv: serving up to {} clients", offers.len());
    let mut clients: Vec<Option<Client<'_>>> = offers.iter().map(|_| None).collect();
    let service = StoreServer(Table(Lock::new(BTreeMap::new())));
    let mut context = Context::<BUFFER_BYTES>::new();
    let mut served = 0_u32;
    let expected = platform::number_of("clients").unwrap_or(1);
    let mut left = 0;
    loop {
        // What happens from here on ends the sleep below.
        let before = moments(&listener, &clients);
        let mut has_worked = accept(&listener, windows, &offers, &mut clients);
        for (place, offer) in clients.iter_mut().zip(&offers) {
            let Some(client) = place else { continue };
            match serve_one(&client.server, &mut context, &service) {
                Ok(true) => {
                    served += 1;
                    has_worked = true;
                }
                Ok(false) => {}
                Err(PeerGone) => {
                    println!("kv: partition {} has left; {served} calls so far", client.id.0);
                    // Whoever had the page has it no longer; who has ended has left it already.
                    let _revoked = client.user.map(|user| offer.revoke(user));
                    *place = None;
                    left += 1;
                    has_worked = true;
                }
            }
        }
        if left >= expected && clients.iter().all(Option::is_none) {
            println!("kv: nobody is left; {} names", service.0.count());
            return Ok(());
        }
        if !has_worked {
            sleep::until_there(|| (moments(&listener, &clients) != before).then_some(()));
        }
    }
}

/// A page to be shared with a client.
fn offer(windows: Windows) -> Option<Offer> {
    let area = Area::alloc(windows, AreaClass::Page, AREA_BYTES).ok()?;
    Offer::of(View::of(windows), area, None).ok()
}

/// Serves the next call, if one has come.
fn serve_one(
    server: &Server<'_, Wire<'_>>,
    context: &mut Context<BUFFER_BYTES>,
    service: &StoreServer<Table>,
) -> Result<bool, PeerGone> {
    let request = server.receive(context)?;
    let has_come = request.is_some();
    if let Some(request) = request {
        service.dispatch(request);
    }
    Ok(has_come)
}

/// What changes when something comes from anybody.
fn moments(
    listener: &Listener,
    clients: &[Option<Client<'_>>],
) -> (Moment, [Option<Moment>; CLIENTS]) {
    let mut moments = [None; CLIENTS];
    for (moment, client) in moments.iter_mut().zip(clients) {
        let channel = client.as_ref().map(|client| client.server.leg().transport().channel());
        *moment = channel.map(shikiri_channel::Channel::moment);
    }
    (listener.moment(), moments)
}

/// Answers the next request, if there is one: for a channel, or, by who has one, for its page.
fn accept<'o>(
    listener: &Listener,
    windows: Windows,
    offers: &'o [Offer],
    clients: &mut [Option<Client<'o>>],
) -> bool {
    let Ok(Some(signal)) = listener.try_signal() else { return false };
    let from = signal.from;
    match Request::of(signal) {
        Ok(request) if request.service == SERVICE => {
            let places = clients.iter_mut().zip(offers).zip(FIRST_PORT..);
            let free = { places }.find(|((place, _), _)| place.is_none());
            if let Some(((place, offer), intid)) = free {
                *place = connect(request, windows, offer, intid);
            }
        }
        // A request that is dropped is refused.
        Ok(_other) => {}
        Err(signal) => {
            let own = clients.iter_mut().zip(offers).find_map(|(place, offer)| {
                let client = place.as_mut().filter(|client| client.id == from)?;
                Some((client, offer))
            });
            if let (Some((client, offer)), Ok(request)) = (own, PageRequest::of(signal)) {
                // What cannot be accepted comes back, and goes: it is refused.
                client.user = request.accept(offer, Access::ReadWrite).ok();
            } else {
                let _refused = hvc::talk::refuse(signal.request);
            }
        }
    }
    true
}

/// Makes a connection of a request; the page has empty buffers from here on.
fn connect<'o>(
    request: Request,
    windows: Windows,
    offer: &'o Offer,
    intid: u32,
) -> Option<Client<'o>> {
    let id = request.from;
    let area = shikiri_rpc::Area::new(offer.words());
    let pool = Pool::create(pool_part(area)?, BUFFERS, BUFFER_BYTES).ok()?;
    let port = Port::new(windows, Window::of_short_messages(), intid).ok()?;
    let channel = request.accept(port).ok()?;
    let leg = Leg::new(Wire::with_area(channel, area, Side::A)?);
    leg.pools().add(pool).ok()?;
    println!("kv: partition {} is connected", id.0);
    // One that takes no replies keeps no other client waiting: it is told that there was no buffer for one.
    Some(Client { id, user: None, server: Server::new(leg, Patience::Fail) })
}
