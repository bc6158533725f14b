//! Sockets against a hypervisor of the tests' own: whole sequences of C6 to C9 in the three forms, and their failures.

mod connecting;
mod fake;
mod forms;
mod random;
mod serving;

use super::{LIMITS, ROOT, USER, done};
use crate::abi::poll::{POLLERR, POLLHUP, POLLIN, POLLOUT};
use crate::abi::socket::{
    AF_SHIKIRI, Address, Form, PARTITION_ANY, Record, SHIKIRI_FORM, SOCK_NONBLOCK, SOCK_SEQPACKET,
    SOL_SHIKIRI,
};
use crate::files::{DescriptionId, Files, Limits};
use crate::{Answer, Caller, Descriptors, Errno, Key, Step};
use fake::Fake;
use std::collections::BTreeSet;

const SERVICE: u32 = 7;

/// The address space of the tests' process.
const SPACE: u64 = 100;

/// A process with sockets.
struct Process {
    files: Files<Fake>,
    descriptors: Descriptors,
    caller: Caller,
}

impl Process {
    fn new() -> Self {
        Self::with(LIMITS, 16)
    }

    fn with(limits: Limits, descriptors: u32) -> Self {
        let files = Files::with_channels(limits, Fake::new());
        Self { files, descriptors: Descriptors::new(descriptors), caller: ROOT }
    }

    fn socket(&mut self, flags: u32) -> i32 {
        let kind = SOCK_SEQPACKET | flags;
        let id = self.files.socket(u32::from(AF_SHIKIRI), kind, 0).unwrap();
        self.files.install(&mut self.descriptors, id, 0).unwrap()
    }

    fn id(&self, number: i32) -> DescriptionId {
        self.descriptors.get(number).unwrap()
    }

    /// A socket that listens for [`SERVICE`].
    fn listening(&mut self, flags: u32) -> i32 {
        let socket = self.socket(flags);
        let id = self.id(socket);
        self.files.bind(id, &service(SERVICE)).unwrap();
        self.files.listen(id, 4).unwrap();
        socket
    }

    fn accept(&mut self, listener: i32, flags: u32) -> Answer<(i32, Address)> {
        self.files.accept(&mut self.descriptors, listener, flags)
    }

    /// A partition asks for the service, and the interrupt comes.
    fn asked(&mut self, service: u32) -> u64 {
        self.asked_by(9, service)
    }

    fn asked_by(&mut self, id: u32, service: u32) -> u64 {
        let request = self.files.channels.ask(id, service);
        self.files.signal_event();
        request
    }

    /// A connection that was accepted: its descriptor and its port.
    fn connected(&mut self, form: Form, flags: u32) -> (i32, u64) {
        let listener = self.listening(0);
        self.asked(SERVICE);
        let (socket, _) = done(self.accept(listener, flags)).unwrap();
        self.set_form(socket, form).unwrap();
        self.close(listener);
        (socket, self.files.channels.newest_port())
    }

    fn set_form(&mut self, socket: i32, form: Form) -> Result<(), Errno> {
        let value = form.number().to_le_bytes();
        let id = self.id(socket);
        self.files.set_socket_option(&self.caller, id, SOL_SHIKIRI, SHIKIRI_FORM, value)
    }

    /// The peer sends, and the interrupt comes.
    fn arrives(&mut self, port: u64, data: Option<&[u8]>, word: u64) {
        self.files.channels.deliver(port, data, [word, 0, 0]);
        self.files.port_event(port);
    }

    fn receive(&mut self, socket: i32) -> Answer<Option<Record>> {
        let mut out = [0; Record::BYTES];
        let id = self.id(socket);
        Ok(match self.files.receive(id, &self.caller, &mut out)? {
            Step::Done(0) => Step::Done(None),
            Step::Done(_) => Step::Done(Some(Record::from_bytes(&out))),
            Step::Wait(key) => Step::Wait(key),
        })
    }

    fn received(&mut self, socket: i32) -> Record {
        done(self.receive(socket)).unwrap().unwrap()
    }

    fn send(&mut self, socket: i32, record: Record) -> Answer<usize> {
        let id = self.id(socket);
        self.files.send(id, &self.caller, SPACE, &record.to_bytes())
    }

    fn bits(&self, number: i32) -> u16 {
        self.files.ready(self.id(number)) & (POLLIN | POLLOUT | POLLHUP | POLLERR)
    }

    fn woken(&mut self) -> BTreeSet<Key> {
        core::iter::from_fn(|| self.files.woken()).collect()
    }

    fn close(&mut self, number: i32) {
        self.files.close(&mut self.descriptors, number).unwrap();
    }
}

fn service(service: u32) -> Address {
    Address { partition: PARTITION_ANY, service, id: 0, name: [0; 32] }
}

fn named(name: &[u8]) -> Record {
    let mut record = Record::short([0; 3]);
    record.name[..name.len()].copy_from_slice(name);
    record
}

fn key<T: core::fmt::Debug>(answer: Answer<T>) -> Key {
    match answer {
        Ok(Step::Wait(key)) => key,
        other => panic!("does not wait: {other:?}"),
    }
}

const NON_BLOCKING: u32 = SOCK_NONBLOCK;
const OTHER: Caller = USER;
