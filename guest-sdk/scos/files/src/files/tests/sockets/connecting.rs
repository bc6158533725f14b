//! The client's side: connect, its answers, and both ways of ending.

use super::super::{at, done};
use super::{NON_BLOCKING, Process, SERVICE, key, named, service};
use crate::abi::poll::{POLLERR, POLLHUP, POLLIN, POLLOUT};
use crate::abi::socket::{
    Address, Form, PARTITION_ANY, Record, SHUT_RD, SHUT_RDWR, SHUT_WR, SO_ERROR, SOL_SOCKET,
};
use crate::socket::{Connecting, Refusal};
use crate::{Answer, Errno, Step};

const NET: Address = Address { partition: 2, service: 7, id: 0, name: [0; 32] };

impl Process {
    fn connect(&mut self, socket: i32, address: &Address) -> Answer<()> {
        let id = self.id(socket);
        self.files.connect(id, address)
    }

    /// The partition that was asked answers, and the interrupt comes.
    fn answered(&mut self, answer: Connecting) {
        let port = self.files.channels.newest_port();
        self.files.channels.ports.get_mut(&port).unwrap().answer = answer;
        self.files.port_event(port);
    }
}

fn errno(errno: Errno) -> [u8; 4] {
    u32::from(errno.number()).to_le_bytes()
}

#[test]
fn connect_waits_for_the_answer() {
    let mut process = Process::new();
    let socket = process.socket(0);
    let waits = key(process.connect(socket, &NET));
    let port = process.files.channels.newest_port();
    assert_eq!(process.files.channels.ports[&port].asked, Some((2, 7)));
    process.files.port_event(port);
    assert_eq!((key(process.connect(socket, &NET)), process.bits(socket)), (waits, 0));
    process.woken();
    process.answered(Connecting::Connected);
    assert!(process.woken().contains(&waits));
    assert_eq!(process.connect(socket, &NET), Ok(Step::Done(())));
    assert_eq!(process.connect(socket, &NET), Err(Errno::EISCONN));
    let peer = process.files.peer_name(process.id(socket)).unwrap();
    assert_eq!((peer.partition, peer.id, peer.service, peer.name()), (2, 9, 7, &b"net"[..]));
    process.arrives(port, Some(b"hello"), 1);
    assert_eq!(process.received(socket).bytes, 5);
}

#[test]
fn a_partition_is_found_by_its_name() {
    let mut process = Process::new();
    let mut address = Address { partition: PARTITION_ANY, ..NET };
    let socket = process.socket(0);
    assert_eq!(process.connect(socket, &address), Err(Errno::EHOSTUNREACH));
    address.name[..4].copy_from_slice(b"none");
    assert_eq!(process.connect(socket, &address), Err(Errno::EHOSTUNREACH));
    address.name[..4].copy_from_slice(b"net\0");
    key(process.connect(socket, &address));
    let nobody = Address { partition: 5, ..NET };
    let socket = process.socket(0);
    assert_eq!(process.connect(socket, &nobody), Err(Errno::EHOSTUNREACH));
}

#[test]
fn refused_and_gone_are_told_and_the_socket_can_ask_again() {
    let mut process = Process::new();
    let socket = process.socket(0);
    for (answer, expected) in
        [(Connecting::Refused, Errno::ECONNREFUSED), (Connecting::PeerGone, Errno::EHOSTDOWN)]
    {
        key(process.connect(socket, &NET));
        process.answered(answer);
        assert_eq!(process.connect(socket, &NET), Err(expected));
        assert!(process.files.channels.ports.is_empty(), "the port is closed");
    }
    for (refusal, expected) in [
        (Refusal::NotPermitted, Errno::EACCES),
        (Refusal::PeerGone, Errno::EHOSTDOWN),
        (Refusal::OverLimit, Errno::ENOBUFS),
        (Refusal::NoMemory, Errno::ENOMEM),
    ] {
        process.files.channels.connects = Err(refusal);
        assert_eq!(process.connect(socket, &NET), Err(expected));
        assert!(process.files.channels.ports.is_empty());
    }
    process.files.channels.free_ports = 0;
    assert_eq!(process.connect(socket, &NET), Err(Errno::ENOBUFS));
}

#[test]
fn in_non_blocking_mode_the_answer_is_polled_for() {
    let mut process = Process::new();
    let socket = process.socket(NON_BLOCKING);
    let id = process.id(socket);
    assert_eq!(process.connect(socket, &NET), Err(Errno::EINPROGRESS));
    assert_eq!(process.connect(socket, &NET), Err(Errno::EALREADY));
    assert_eq!(process.bits(socket), 0);
    process.answered(Connecting::Refused);
    assert_eq!(process.bits(socket) & (POLLERR | POLLHUP), POLLERR | POLLHUP);
    let error = process.files.socket_option(id, SOL_SOCKET, SO_ERROR);
    assert_eq!(error, Ok(errno(Errno::ECONNREFUSED)));
    assert_eq!(process.files.socket_option(id, SOL_SOCKET, SO_ERROR), Ok([0; 4]));
    assert_eq!(process.connect(socket, &NET), Err(Errno::EINPROGRESS));
    process.answered(Connecting::Connected);
    assert_eq!(process.bits(socket), POLLOUT);
    assert_eq!(process.files.socket_option(id, SOL_SOCKET, SO_ERROR), Ok([0; 4]));
    assert_eq!(process.connect(socket, &NET), Err(Errno::EISCONN));
}

#[test]
fn a_socket_that_listens_does_not_connect_and_one_that_asks_does_not_listen() {
    let mut process = Process::new();
    let listener = process.listening(0);
    assert_eq!(process.connect(listener, &NET), Err(Errno::EOPNOTSUPP));
    let socket = process.socket(0);
    process.files.bind(process.id(socket), &service(SERVICE + 1)).unwrap();
    key(process.connect(socket, &NET));
    assert_eq!(process.files.listen(process.id(socket), 1), Err(Errno::EINVAL));
    process.close(socket);
    assert!(process.files.channels.ports.is_empty(), "the request is withdrawn");
}

#[test]
fn a_peer_that_ends_while_a_read_waits_is_the_end_of_the_file() {
    let mut process = Process::new();
    let (socket, port) = process.connected(Form::File, 0);
    let waits = key(process.receive(socket));
    process.woken();
    process.files.channels.leave(port);
    process.files.port_event(port);
    assert!(process.woken().contains(&waits));
    assert_eq!(done(process.receive(socket)), Ok(None));
    assert_eq!(process.bits(socket), POLLIN | POLLOUT | POLLHUP);
    assert_eq!(process.send(socket, Record::short([1, 2, 3])), Err(Errno::EPIPE));
}

#[test]
fn what_a_peer_has_sent_before_it_ended_is_read_before_the_end() {
    let mut process = Process::new();
    let (socket, port) = process.connected(Form::File, 0);
    process.files.channels.deliver(port, Some(b"one"), [1, 0, 0]);
    process.files.channels.deliver(port, None, [2, 0, 0]);
    process.files.channels.leave(port);
    process.files.port_event(port);
    assert_eq!(process.received(socket).short[0], 1);
    assert_eq!(process.received(socket).short[0], 2);
    assert_eq!(done(process.receive(socket)), Ok(None));
    assert_eq!(done(process.receive(socket)), Ok(None));
}

#[test]
fn shut_down_for_reading_discards_what_comes() {
    let mut process = Process::new();
    let (socket, port) = process.connected(Form::File, 0);
    process.arrives(port, Some(b"waits"), 1);
    process.arrives(port, Some(b"waits at the port"), 1);
    process.files.shutdown(process.id(socket), SHUT_RD).unwrap();
    assert!(process.files.channels.areas.is_empty());
    assert_eq!(done(process.receive(socket)), Ok(None));
    process.arrives(port, Some(b"late"), 1);
    assert!(process.files.channels.areas.is_empty());
    assert_eq!(process.files.channels.told, [port; 3]);
    assert_eq!(done(process.send(socket, Record::short([5; 3]))), Ok(96));
}

#[test]
fn shut_down_for_writing_is_epipe_and_for_both_closes_the_port() {
    let mut process = Process::new();
    let (socket, port) = process.connected(Form::File, 0);
    let id = process.id(socket);
    assert_eq!(process.files.shutdown(id, 3), Err(Errno::EINVAL));
    process.files.shutdown(id, SHUT_WR).unwrap();
    assert_eq!(process.send(socket, Record::short([0; 3])), Err(Errno::EPIPE));
    process.arrives(port, None, 6);
    assert_eq!(process.received(socket).short[0], 6);
    let waits = key(process.receive(socket));
    process.woken();
    process.files.shutdown(id, SHUT_RDWR).unwrap();
    assert!(process.woken().contains(&waits));
    assert!(process.files.channels.ports.is_empty());
    assert_eq!(done(process.receive(socket)), Ok(None));
    assert_eq!(process.send(socket, named(b"/areas/1")), Err(Errno::EPIPE));
    assert_eq!(process.files.peer_name(id), Err(Errno::ENOTCONN));
    process.files.port_event(port);
    process.close(socket);
}

#[test]
fn a_file_outlives_its_port() {
    let mut process = Process::new();
    let (socket, port) = process.connected(Form::File, 0);
    process.arrives(port, Some(b"data"), 6);
    process.received(socket);
    process.files.shutdown(process.id(socket), SHUT_RDWR).unwrap();
    assert_eq!(process.files.contents("/areas/1").unwrap(), b"data");
    process.files.unlink(&process.caller, at("/areas/1")).unwrap();
    assert!(process.files.channels.areas.is_empty() && process.files.channels.told.is_empty());
}
