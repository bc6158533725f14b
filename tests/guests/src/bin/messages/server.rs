//! The server: one client after another, each with the service that it asks for.

use shikiri_channel::{AreaClass, Channel, Listener, Message, Port, Request, Ticks, Wait};
use shikiri_rt::{power, println};
use shikiri_test_guests::Failure;
use shikiri_test_guests::report::Outcome;

use crate::tools::{BY_EVENT, LISTENER, PORT, made, service, window, windows};

pub(crate) fn serve() {
    if let Err(Failure { what, got, want }) = serve_all() {
        println!("FAIL server: {what}: {got:#x}, not {want:#x}");
    }
}

fn serve_all() -> Outcome {
    let listener = made(Listener::new(LISTENER))?;
    loop {
        let request = made(listener.next())?;
        match request.service {
            service::NO => request.refuse(),
            // Withdrawn while it waits here: the next one comes.
            service::LATE => drop(made(listener.next())?),
            _ => serve_one(&listener, request)?,
        }
    }
}

fn serve_one(listener: &Listener, request: Request) -> Outcome {
    let class = AreaClass::from_code(request.word & !BY_EVENT).unwrap_or(AreaClass::Page);
    let wait = if request.word & BY_EVENT == 0 { Wait::Interrupt } else { Wait::Event };
    let port = made(Port::new(windows()?, window(class), PORT))?;
    let service = request.service;
    // One that was withdrawn meanwhile is nobody's.
    let Ok(channel) = request.accept(port) else { return Ok(()) };
    channel.set_wait(wait);
    if service == service::CLOSE {
        return Ok(());
    }
    while let Ok(message) = channel.receive() {
        match service {
            // What a client leaves behind is held by nobody.
            _ if !channel.is_connected() => {}
            service::ECHO => echo(&channel, message),
            service::LEAVE => {
                let is_last = message.short[0] == 1;
                echo(&channel, message);
                if is_last {
                    return Ok(());
                }
            }
            service::HOLD => hold(listener, message)?,
            _ if message.short[0] == 1 => power::off(),
            _ => {}
        }
    }
    Ok(())
}

fn echo(channel: &Channel, Message { mut area, short }: Message) {
    if let Some(first) = area.as_deref_mut().and_then(|area| area.first_mut()) {
        *first = first.wrapping_add(1);
    }
    // The client may have gone.
    let _sent = channel.send(area, short.map(|word| word.wrapping_add(1)));
}

/// Holds the message until a request has come, and a moment longer so that the client waits by then; then it drops it and does not
/// look at the channel until the next request has come.
fn hold(listener: &Listener, message: Message) -> Outcome {
    made(listener.next())?.refuse();
    let too_early = made(listener.next_until(Ticks::from_now_us(5000)))?;
    drop(message);
    match too_early {
        Some(request) => request.refuse(),
        None => made(listener.next())?.refuse(),
    }
    Ok(())
}
