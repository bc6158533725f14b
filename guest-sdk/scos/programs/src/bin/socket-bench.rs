//! Measures what messages over sockets cost a program, in nanoseconds of the clock, which under `cargo xtask bench` are instructions of all
//! cores together: so each row is all that the program, both kernels and the hypervisor do. Each is the median of 200, without the
//! cost of reading the clock, and printed as `bench: ROW N`. The other side is the guest `sockets`.

use std::fs;
use std::io::{Error, Result, Write as _};
use std::process::ExitCode;
use std::time::Instant;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use shikiri_scos_programs::os;
use shikiri_scos_programs::socket::{Address, FILE, MAPPING, Message, Socket, Watch, poke, unmap};

const SERVICE: u32 = 7;
const ECHO: u64 = 2;
const SHORT: u64 = 3;
const END: u64 = 4;
const ROUNDS: usize = 200;
const IN: u16 = 1;

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("FAIL {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<()> {
    let listener = Socket::new(0)?;
    listener.bind(Address::service(SERVICE))?;
    listener.listen(1)?;
    let (guest, _) = listener.accept(0)?;
    let clock = median(|| Ok(()))?;
    let row = |name: &str, ns: u64| println!("bench: {name} {}", ns.saturating_sub(clock));
    row("socket_short", median(|| exchange(&guest, &Message::short([SHORT, 0, 0])).map(drop))?);
    let mut file = guest.make(64)?;
    fs::OpenOptions::new().write(true).open(&file.name)?.write_all(b"a message")?;
    row("socket_file", median(|| again(&guest, &mut file))?);
    fs::remove_file(&file.name)?;
    guest.set_form(MAPPING)?;
    let mut mapping = guest.make(4096)?;
    poke(mapping.address, 1);
    row("socket_mapping", median(|| again(&guest, &mut mapping))?);
    unmap(mapping.address, 4096)?;
    guest.set_form(FILE)?;
    let others: Result<Vec<Socket>> = (100..163).map(listening).collect();
    let others = others?;
    let asked: Vec<(i32, u16)> =
        [&guest].into_iter().chain(&others).map(|socket| (socket.number(), IN)).collect();
    let one: Vec<(i32, u16)> = asked.iter().take(1).copied().collect();
    let (mut one, mut all) = (Watch::new(&one), Watch::new(&asked));
    row("socket_poll_1", median(|| one.poll(Some(0)).map(drop))?);
    row("socket_poll_64", median(|| all.poll(Some(0)).map(drop))?);
    row("socket_select_1", median(|| select(&asked[..1]))?);
    row("socket_select_64", median(|| select(&asked))?);
    let list = Epoll::new(EpollCreateFlags::empty())?;
    for socket in [&guest].into_iter().chain(&others) {
        list.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
    }
    let mut told = [EpollEvent::empty(); 8];
    let mut look = || Ok(list.wait(&mut told, EpollTimeout::ZERO).map(drop)?);
    row("socket_epoll_64", median(&mut look)?);
    guest.send(&Message::short([END, 0, 0]))
}

/// `pselect6` of these to be read, of which none has anything.
fn select(asked: &[(i32, u16)]) -> Result<()> {
    let set = asked.iter().fold(0_u128, |set, (number, _)| set | 1 << number);
    let end = 128 - u64::from(set.leading_zeros());
    os::select(end, [set, 0, 0], Some(0)).map(drop).map_err(Error::from_raw_os_error)
}

fn listening(service: u32) -> Result<Socket> {
    let socket = Socket::new(0)?;
    socket.bind(Address::service(service))?;
    socket.listen(1)?;
    Ok(socket)
}

fn exchange(guest: &Socket, message: &Message) -> Result<Message> {
    guest.send(message)?;
    guest.receive()?.ok_or(Error::other("the guest has gone"))
}

/// Sends an area there and takes it back.
fn again(guest: &Socket, message: &mut Message) -> Result<()> {
    message.short = [ECHO, 0, 0];
    *message = exchange(guest, message)?;
    Ok(())
}

fn median(mut action: impl FnMut() -> Result<()>) -> Result<u64> {
    let mut samples = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        action()?;
        samples.push(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    samples.sort_unstable();
    Ok(samples.get(ROUNDS / 2).copied().unwrap_or(0))
}
