//! Whatever is called in whatever order: no area and no request is lost or answered twice (the fake hypervisor looks), and when all
//! is closed nothing is left.

use super::super::{LIMITS, ROOT, at};
use super::{NON_BLOCKING, Process, SERVICE, SPACE, named, service};
use crate::Step;
use crate::abi::socket::{Address, Form, Record};
use crate::area::Mapping;
use crate::files::Limits;
use crate::socket::Connecting;
use proptest::prelude::*;
use std::string::String;
use std::vec;
use std::vec::Vec;

#[derive(Clone, Debug)]
enum Call {
    Socket,
    Bind(i32, u32),
    Listen(i32, i32),
    Accept(i32),
    Connect(i32),
    Answer(usize, bool),
    Ask(u32),
    Deliver(usize, bool),
    Leave(usize),
    Form(i32, u8),
    Receive(i32),
    Send(i32, u64),
    New(i32, u64),
    Unlink(u64),
    Unmap(u64),
    Discard(u64),
    Shutdown(i32, u32),
    Close(i32),
}

fn call() -> impl Strategy<Value = Call> {
    let (socket, port, area) = (0..4_i32, 0..3_usize, 0..6_u64);
    prop_oneof![
        Just(Call::Socket),
        (socket.clone(), SERVICE..SERVICE + 2)
            .prop_map(|(socket, service)| Call::Bind(socket, service)),
        (socket.clone(), -1..3).prop_map(|(socket, backlog)| Call::Listen(socket, backlog)),
        socket.clone().prop_map(Call::Accept),
        socket.clone().prop_map(Call::Connect),
        (port.clone(), any::<bool>()).prop_map(|(port, is_good)| Call::Answer(port, is_good)),
        (SERVICE..SERVICE + 2).prop_map(Call::Ask),
        (port.clone(), any::<bool>()).prop_map(|(port, has_area)| Call::Deliver(port, has_area)),
        port.prop_map(Call::Leave),
        (socket.clone(), 0..3_u8).prop_map(|(socket, form)| Call::Form(socket, form)),
        socket.clone().prop_map(Call::Receive),
        (socket.clone(), area.clone()).prop_map(|(socket, area)| Call::Send(socket, area)),
        (socket.clone(), 0..5000_u64).prop_map(|(socket, bytes)| Call::New(socket, bytes)),
        area.clone().prop_map(Call::Unlink),
        area.clone().prop_map(Call::Unmap),
        area.prop_map(Call::Discard),
        (socket.clone(), 0..3_u32).prop_map(|(socket, how)| Call::Shutdown(socket, how)),
        socket.prop_map(Call::Close),
    ]
}

/// Where an area is mapped: by its number.
fn mapping(area: u64) -> Mapping {
    Mapping { space: SPACE, address: (area + 1) << 32 }
}

fn path(area: u64) -> String {
    std::format!("/areas/{area}")
}

impl Process {
    /// The port with this place among those that are open.
    fn port(&self, place: usize) -> Option<u64> {
        self.files.channels.ports.keys().nth(place).copied()
    }

    fn carry_out(&mut self, call: &Call) {
        match *call {
            Call::Ask(service) => {
                self.asked(service);
            }
            Call::Answer(place, is_good) => self.answer_port(place, is_good),
            Call::Deliver(place, has_area) => self.deliver_to(place, has_area),
            Call::Leave(place) => {
                if let Some(port) = self.port(place) {
                    self.files.channels.leave(port);
                    self.files.port_event(port);
                }
            }
            Call::Unlink(area) => {
                self.files.unlink(&ROOT, at(&path(area)));
            }
            Call::Unmap(area) => {
                if let Some(id) = self.files.areas.mapped_at(mapping(area)) {
                    self.files.unmap_area(id, mapping(area));
                }
            }
            Call::Discard(area) => {
                let record = Record { area, ..Record::short([0; 3]) };
                self.files.discard_kernels(&ROOT, &record);
            }
            _ => self.carry_out_on_socket(call),
        }
    }

    fn answer_port(&mut self, place: usize, is_good: bool) {
        let Some(port) = self.port(place) else { return };
        let answer = if is_good { Connecting::Connected } else { Connecting::Refused };
        let there = self.files.channels.ports.get_mut(&port).unwrap();
        if there.answer == Connecting::Open {
            there.answer = answer;
        }
        self.files.port_event(port);
    }

    fn deliver_to(&mut self, place: usize, has_area: bool) {
        let Some(port) = self.port(place) else { return };
        let there = &self.files.channels.ports[&port];
        if there.answer == Connecting::Connected && !there.is_gone {
            self.arrives(port, has_area.then_some(b"data"), 1);
        }
    }

    fn carry_out_on_socket(&mut self, call: &Call) {
        let (Call::Bind(number, _)
        | Call::Listen(number, _)
        | Call::Accept(number)
        | Call::Connect(number)
        | Call::Form(number, _)
        | Call::Receive(number)
        | Call::Send(number, _)
        | Call::New(number, _)
        | Call::Shutdown(number, _)
        | Call::Close(number)) = *call
        else {
            let _made = self.descriptors.lowest_free(0).map(|_| self.socket(NON_BLOCKING));
            return;
        };
        let Ok(id) = self.descriptors.get(number) else { return };
        match *call {
            Call::Bind(_, number) => {
                self.files.bind(id, &service(number));
            }
            Call::Listen(_, backlog) => {
                self.files.listen(id, backlog);
            }
            Call::Accept(_) => {
                self.accept(number, 0);
            }
            Call::Connect(_) => {
                self.files.connect(id, &Address { partition: 2, ..service(1) });
            }
            Call::Form(_, form) => {
                self.set_form(number, Form::from_number(u32::from(form)).unwrap());
            }
            Call::Receive(_) => {
                if let Ok(Step::Done(Some(message))) = self.files.message(id) {
                    let mapping = message.area.map(|(area, _)| mapping(area.0));
                    self.files.take(id, &ROOT, mapping);
                }
            }
            Call::Send(_, area) => {
                let place = mapping(area).address;
                let record =
                    Record { address: place, bytes: 1, area, ..named(path(area).as_bytes()) };
                self.send(number, record);
            }
            Call::New(_, bytes) => {
                if let Ok((area, _)) = self.files.new_area(id, bytes) {
                    self.files.settle(id, &ROOT, area, Some(mapping(area.0)));
                }
            }
            Call::Shutdown(_, how) => {
                self.files.shutdown(id, how);
            }
            _ => self.close(number),
        }
    }

    /// Each area of the hypervisor's is known here or waits at a port.
    fn check(&mut self) {
        while let Some(revoked) = self.files.revoked() {
            assert!(self.files.areas.get(revoked.area).is_err(), "only what has gone is revoked");
        }
        let known = self.files.areas.len();
        let waiting: usize =
            self.files.channels.ports.values().map(super::fake::Port::areas_waiting).sum();
        assert_eq!(known + waiting, self.files.channels.areas.len());
        let open: Vec<u64> = self.files.channels.ports.keys().copied().collect();
        assert!(self.files.ports.keys().eq(open.iter()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_is_lost_and_nothing_twice(calls in prop::collection::vec(call(), 0..200)) {
        let mut process = Process::with(Limits { descriptions: 8, ..LIMITS }, 4);
        // One that is connected, and one that listens.
        let (listener, _) = (process.listening(NON_BLOCKING), process.asked(SERVICE));
        process.accept(listener, NON_BLOCKING).unwrap();
        for call in &calls {
            process.carry_out(call);
            process.check();
        }
        process.files.exit(&mut process.descriptors);
        (0..100).for_each(|area| process.carry_out(&Call::Unlink(area)));
        (0..100).for_each(|area| process.carry_out(&Call::Unmap(area)));
        process.check();
        prop_assert!(process.files.channels.ports.is_empty());
        prop_assert!(process.files.channels.taken.is_empty());
        prop_assert!(process.files.channels.areas.is_empty());
        prop_assert!(process.files.is_closed());
    }
}
