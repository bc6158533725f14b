//! Compiles: what the other files here do wrong, done right.
#![no_std]
#![no_main]

use shikiri_channel::{Area, AreaClass, Channel, NotConnected, Port, Refusal, Request, Windows};

/// Sends an area and uses the one that comes back.
pub fn exchange(windows: Windows, channel: &Channel) -> Result<u8, Refusal> {
    let mut area = Area::alloc(windows, AreaClass::Page, 4096)?;
    let first = &mut area[..1];
    first.fill(1);
    if let Err(back) = channel.send(area, [0; 3]) {
        return Ok(back.cargo.len() as u8);
    }
    let answer = channel.receive().ok().and_then(|message| message.area);
    Ok(answer.and_then(|area| area.first().copied()).unwrap_or(0))
}

/// Asks once more if it was refused.
pub fn connect(port: Port) -> Result<Channel, (Port, NotConnected)> {
    match port.connect(1, 2, 3) {
        Ok(channel) => Ok(channel),
        Err((port, _)) => port.connect(1, 2, 3),
    }
}

/// Accepts with one port.
pub fn accept(request: Request, port: Port) -> Option<Channel> {
    request.accept(port).ok()
}
