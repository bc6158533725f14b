//! The server's side (C6, C9): bind, listen, accept with and without a request that waits, and refusing.

use super::super::{LIMITS, done};
use super::{NON_BLOCKING, Process, SERVICE, key, service};
use crate::abi::fcntl::{F_GETFD, S_IFMT, S_IFSOCK};
use crate::abi::poll::{POLLHUP, POLLIN, POLLOUT};
use crate::abi::socket::{
    AF_SHIKIRI, Form, PARTITION_ANY, SHIKIRI_WINDOW, SO_ACCEPTCONN, SO_DOMAIN, SO_TYPE,
    SOCK_CLOEXEC, SOCK_SEQPACKET, SOL_SHIKIRI, SOL_SOCKET, Window,
};
use crate::files::Limits;
use crate::{Errno, Files, Key, Step};
use std::vec::Vec;

#[test]
fn accept_waits_for_a_request_and_tells_who_has_asked() {
    let mut process = Process::new();
    let listener = process.listening(0);
    let waits = key(process.accept(listener, 0));
    assert_eq!((process.bits(listener), process.woken().contains(&waits)), (0, false));
    process.asked(SERVICE);
    assert!(process.woken().contains(&waits));
    assert_eq!(process.bits(listener), POLLIN);
    let (socket, peer) = done(process.accept(listener, SOCK_CLOEXEC)).unwrap();
    assert_eq!((peer.partition, peer.id, peer.service), (2, 9, SERVICE));
    assert_eq!(peer.name(), b"net");
    assert_eq!(process.files.peer_name(process.id(socket)), Ok(peer));
    let own = process.files.socket_name(process.id(socket)).unwrap();
    assert_eq!((own.partition, own.service), (PARTITION_ANY, SERVICE));
    assert_eq!(process.files.fcntl(&mut process.descriptors, socket, F_GETFD, 0), Ok(1));
    assert_eq!((process.bits(socket), process.bits(listener)), (POLLOUT, 0));
    process.close(socket);
    assert!(process.files.channels.ports.is_empty(), "the peer is told");
}

#[test]
fn the_peer_is_who_it_was_and_not_who_has_its_number_now() {
    let mut process = Process::new();
    let listener = process.listening(0);
    process.asked(SERVICE);
    let (socket, peer) = done(process.accept(listener, 0)).unwrap();
    process.files.channels.second = (10, "disk");
    assert_eq!(process.files.peer_name(process.id(socket)), Ok(peer));
    process.asked_by(10, SERVICE);
    let (_, peer) = done(process.accept(listener, 0)).unwrap();
    assert_eq!((peer.partition, peer.id, peer.name()), (2, 10, &b"disk"[..]));
    // Who was forbidden meanwhile to be a peer is known by its id alone.
    process.asked_by(11, SERVICE);
    let (_, peer) = done(process.accept(listener, 0)).unwrap();
    assert_eq!((peer.partition, peer.id, peer.name()), (PARTITION_ANY, 11, &b""[..]));
}

#[test]
fn a_request_that_waits_is_accepted_at_once_and_in_order() {
    let mut process = Process::new();
    let listener = process.listening(NON_BLOCKING);
    assert_eq!(process.accept(listener, 0), Err(Errno::EAGAIN));
    let requests = [process.asked(SERVICE), process.asked(SERVICE)];
    for request in requests {
        assert!(process.files.channels.taken.contains(&request));
        done(process.accept(listener, 0)).unwrap();
        assert!(!process.files.channels.taken.contains(&request));
    }
    assert_eq!(process.accept(listener, 0), Err(Errno::EAGAIN));
    assert_eq!(process.files.channels.ports.len(), 2);
}

#[test]
fn a_service_that_is_not_listened_for_is_refused() {
    let mut process = Process::new();
    let refused = |process: &Process| process.files.channels.refused.clone();
    let first = process.asked(SERVICE);
    assert_eq!(refused(&process), [first], "nobody is bound to it");
    let socket = process.socket(0);
    process.files.bind(process.id(socket), &service(SERVICE)).unwrap();
    let second = process.asked(SERVICE);
    assert_eq!(refused(&process), [first, second], "bound, and not listened for");
    process.files.listen(process.id(socket), 1).unwrap();
    let (third, fourth, other) =
        (process.asked(SERVICE), process.asked(SERVICE), process.asked(SERVICE + 1));
    assert_eq!(refused(&process), [first, second, fourth, other], "one may wait");
    process.files.listen(process.id(socket), 0).unwrap();
    assert_eq!(process.accept(socket, 0), Err(Errno::EINVAL));
    let fifth = process.asked(SERVICE);
    assert_eq!(refused(&process)[4..], [third, fifth], "withdrawn");
    process.files.listen(process.id(socket), -1).unwrap();
    let sixth = process.asked(SERVICE);
    process.close(socket);
    assert_eq!(refused(&process)[6..], [sixth], "closed");
    assert!(process.files.channels.taken.is_empty());
}

#[test]
fn many_services_are_permitted_and_refused_each_by_itself() {
    let mut process = Process::new();
    let sockets: Vec<i32> = (0..3)
        .map(|number| {
            let socket = process.socket(0);
            process.files.bind(process.id(socket), &service(number)).unwrap();
            process.files.listen(process.id(socket), 2).unwrap();
            socket
        })
        .collect();
    process.files.listen(process.id(sockets[1]), 0).unwrap();
    for number in 0..3 {
        process.asked(number);
    }
    let bits: Vec<u16> = sockets.iter().map(|socket| process.bits(*socket)).collect();
    assert_eq!(bits, [POLLIN, POLLHUP | POLLOUT, POLLIN]);
    for (socket, number) in [(sockets[0], 0), (sockets[2], 2)] {
        let (_, peer) = done(process.accept(socket, 0)).unwrap();
        assert_eq!(peer.service, number);
    }
}

#[test]
fn a_request_that_was_withdrawn_is_passed_over() {
    let mut process = Process::new();
    let listener = process.listening(NON_BLOCKING);
    let withdrawn = process.asked(SERVICE);
    process.files.channels.withdrawn.push(withdrawn);
    assert_eq!(process.accept(listener, 0), Err(Errno::EAGAIN));
    assert!(process.files.channels.ports.is_empty() && process.files.channels.taken.is_empty());
    let withdrawn = process.asked(SERVICE);
    process.asked(SERVICE);
    process.files.channels.withdrawn.push(withdrawn);
    done(process.accept(listener, 0)).unwrap();
}

#[test]
fn too_many_descriptors_or_ports_leave_the_request_where_it_is() {
    let mut process = Process::with(LIMITS, 2);
    let listener = process.listening(0);
    let other = process.socket(0);
    process.asked(SERVICE);
    assert_eq!(process.accept(listener, 0), Err(Errno::EMFILE));
    process.close(other);
    process.files.channels.free_ports = 0;
    assert_eq!(process.accept(listener, 0), Err(Errno::ENOBUFS));
    process.files.channels.free_ports = 1;
    done(process.accept(listener, 0)).unwrap();
    let mut process = Process::with(Limits { descriptions: 1, ..LIMITS }, 9);
    let listener = process.listening(0);
    process.asked(SERVICE);
    assert_eq!(process.accept(listener, 0), Err(Errno::ENFILE));
    assert_eq!((process.bits(listener), process.files.channels.ports.len()), (POLLIN, 0));
}

#[test]
fn requests_without_a_handle_wait_at_their_sender_until_there_is_one() {
    let mut process = Process::new();
    process.files.channels.free_handles = 1;
    let listener = process.listening(NON_BLOCKING);
    process.files.channels.ask(9, SERVICE);
    process.files.channels.ask(9, SERVICE);
    assert!(!process.files.signal_event());
    assert_eq!(process.files.channels.requests.len(), 1);
    done(process.accept(listener, 0)).unwrap();
    done(process.accept(listener, 0)).unwrap();
    assert!(process.files.channels.requests.is_empty());
}

#[test]
fn many_requests_are_taken_some_at_a_time() {
    let mut process = Process::new();
    for _ in 0..130 {
        process.files.channels.ask(9, SERVICE);
    }
    assert!(process.files.signal_event());
    assert_eq!(process.files.channels.refused.len(), 64);
    assert!(process.files.signal_event());
    assert!(!process.files.signal_event());
    assert_eq!(process.files.channels.refused.len(), 130);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut process = Process::new();
    let family = u32::from(AF_SHIKIRI);
    let mut without = Files::new(LIMITS);
    assert_eq!(without.socket(family, SOCK_SEQPACKET, 0), Err(Errno::EAFNOSUPPORT));
    for (family, kind, protocol, expected) in [
        (2, SOCK_SEQPACKET, 0, Errno::EAFNOSUPPORT),
        (family, 1, 0, Errno::ESOCKTNOSUPPORT),
        (family, SOCK_SEQPACKET, 6, Errno::EPROTONOSUPPORT),
        (family, SOCK_SEQPACKET | 0x100, 0, Errno::EINVAL),
    ] {
        assert_eq!(process.files.socket(family, kind, protocol), Err(expected));
    }
    let (first, second) = (process.socket(0), process.socket(0));
    let (one, two) = (process.id(first), process.id(second));
    assert_eq!(process.files.listen(one, 1), Err(Errno::EDESTADDRREQ));
    process.files.bind(one, &service(SERVICE)).unwrap();
    assert_eq!(process.files.bind(one, &service(8)), Err(Errno::EINVAL));
    assert_eq!(process.files.bind(two, &service(SERVICE)), Err(Errno::EADDRINUSE));
    let mut elsewhere = service(8);
    elsewhere.partition = 2;
    assert_eq!(process.files.bind(two, &elsewhere), Err(Errno::EADDRNOTAVAIL));
    assert_eq!(process.accept(first, 0), Err(Errno::EINVAL));
    assert_eq!(process.accept(first, 1), Err(Errno::EINVAL));
    assert_eq!(process.accept(77, 0), Err(Errno::EBADF));
    assert_eq!(process.files.peer_name(one), Err(Errno::ENOTCONN));
    assert_eq!(process.files.shutdown(one, 0), Err(Errno::ENOTCONN));
    assert_eq!(process.receive(first), Err(Errno::ENOTCONN));
    let (pipe, _) = process.files.pipe(0).unwrap();
    assert_eq!(process.files.bind(pipe, &service(9)), Err(Errno::ENOTSOCK));
    assert_eq!(process.files.message(pipe), Err(Errno::ENOTSOCK));
    assert_eq!(process.files.seek(one, 0, 0), Err(Errno::ESPIPE));
    assert_eq!(process.files.fstat(one).unwrap().mode & S_IFMT, S_IFSOCK);
    process.close(first);
    assert_eq!(process.files.bind(two, &service(SERVICE)), Ok(()));
}

#[test]
fn options_are_told_as_they_were_set_and_accepted_sockets_have_their_listeners() {
    let mut process = Process::new();
    let listener = process.listening(0);
    let id = process.id(listener);
    let window = Window { slots: 2, class: 1, depth: 9 };
    let set = |process: &mut Process, id, name, value| {
        process.files.set_socket_option(&process.caller, id, SOL_SHIKIRI, name, value)
    };
    set(&mut process, id, SHIKIRI_WINDOW, window.to_bytes()).unwrap();
    process.set_form(listener, Form::Mapping).unwrap();
    process.asked(SERVICE);
    let (socket, _) = done(process.accept(listener, 0)).unwrap();
    let port = process.files.channels.newest_port();
    assert_eq!(process.files.channels.ports[&port].window, window);
    let accepted = process.id(socket);
    assert_eq!(process.files.socket_form(accepted), Some(Form::Mapping));
    assert_eq!(set(&mut process, accepted, SHIKIRI_WINDOW, window.to_bytes()), Err(Errno::EISCONN));
    assert_eq!(set(&mut process, id, SHIKIRI_WINDOW, [0xff; 4]), Err(Errno::EINVAL));
    assert_eq!(set(&mut process, id, 1, [3, 0, 0, 0]), Err(Errno::EINVAL));
    assert_eq!(set(&mut process, id, 99, [0; 4]), Err(Errno::ENOPROTOOPT));
    for (id, name, number) in [
        (id, SO_ACCEPTCONN, 1),
        (accepted, SO_ACCEPTCONN, 0),
        (id, SO_TYPE, 5),
        (id, SO_DOMAIN, 77_u32),
    ] {
        assert_eq!(process.files.socket_option(id, SOL_SOCKET, name), Ok(number.to_le_bytes()));
    }
    assert_eq!(process.files.socket_option(id, SOL_SOCKET, 99), Err(Errno::ENOPROTOOPT));
}

#[test]
fn poll_watches_sockets_of_all_kinds_and_a_pipe() {
    let mut process = Process::with(Limits { descriptions: 70, ..LIMITS }, 70);
    let listener = process.listening(0);
    let mut sockets = Vec::new();
    for _ in 0..60 {
        process.asked(SERVICE);
        let (socket, _) = done(process.accept(listener, 0)).unwrap();
        sockets.push((socket, process.files.channels.newest_port()));
    }
    let (read, write) = process.files.pipe(0).unwrap();
    let read = process.files.install(&mut process.descriptors, read, 0).unwrap();
    process.woken();
    let watched: Vec<i32> =
        sockets.iter().map(|(socket, _)| *socket).chain([listener, read]).collect();
    let ready = |process: &Process| -> Vec<i32> {
        watched.iter().copied().filter(|number| process.bits(*number) & POLLIN != 0).collect()
    };
    assert_eq!(ready(&process), []);
    let keys: Vec<Key> =
        watched.iter().flat_map(|number| process.files.keys(process.id(*number))).collect();
    let (socket, port) = sockets[41];
    process.arrives(port, None, 1);
    assert!(process.woken().iter().any(|key| keys.contains(key)));
    assert_eq!(ready(&process), [socket]);
    process.received(socket);
    process.files.write(write, None, b"x").unwrap();
    process.asked(SERVICE);
    assert_eq!(ready(&process), [listener, read]);
    process.files.channels.leave(port);
    process.files.port_event(port);
    assert_eq!(ready(&process), [socket, listener, read]);
    assert_eq!(process.bits(socket), POLLIN | POLLOUT | POLLHUP);
}

#[test]
fn a_second_accept_of_the_same_request_waits() {
    let mut process = Process::new();
    let listener = process.listening(0);
    process.asked(SERVICE);
    done(process.accept(listener, 0)).unwrap();
    assert!(matches!(process.accept(listener, 0), Ok(Step::Wait(_))));
}
