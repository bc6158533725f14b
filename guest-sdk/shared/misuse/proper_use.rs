//! Compiles: what the other files here do wrong, done right.
#![no_std]
#![no_main]

use core::sync::atomic::Ordering;

use shikiri_channel::{Area, AreaClass, Channel, Windows};
use shikiri_shared::{Access, Attachment, Offer, PageCount, Request, View};

/// Offers an area, takes it back, and sends it.
pub fn share_and_send(windows: Windows, request: Request, channel: &Channel) -> Option<()> {
    let area = Area::alloc(windows, AreaClass::Page, 8).ok()?;
    let offer = Offer::of(View::of(windows), area, None).ok()?;
    request.accept(&offer, Access::ReadWrite).ok()?;
    offer.words().first()?.store(1, Ordering::Release);
    let mut area = offer.withdraw().ok()?;
    area.fill(2);
    channel.send(area, [0; 3]).ok()
}

/// Asks for one.
pub fn attach(view: View) -> Option<u64> {
    let place = Attachment::new(view, PageCount(1), AreaClass::Page, 40).ok()?;
    let shared = place.connect(1, 2, 3).ok()?;
    shared.load(0)
}
