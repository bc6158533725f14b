//! Areas as files (C7), as mappings (C8) and as the kernel's own (C8b).

use super::super::{ROOT, at, done};
use super::{NON_BLOCKING, OTHER, Process, SPACE, key, named};
use crate::abi::fcntl::{O_CREAT, O_EXCL, O_RDONLY, O_RDWR, O_WRONLY, S_IFREG, SEEK_END, SEEK_SET};
use crate::abi::poll::{POLLIN, POLLOUT};
use crate::abi::socket::{Form, Record, SHIKIRI_WINDOW, SOL_SHIKIRI, Window};
use crate::area::{Mapping, Revoked};
use crate::files::DescriptionId;
use crate::{Errno, Mappable, Step};
use std::vec::Vec;

const HERE: Mapping = Mapping { space: SPACE, address: 0x7000_0000 };

impl Process {
    fn open(&mut self, path: &[u8], flags: u32) -> Result<DescriptionId, Errno> {
        self.files.open(&self.caller, at(core::str::from_utf8(path).unwrap()), flags, 0o666)
    }

    /// Takes the message that waits, as the kernel does in the mapping's form.
    fn take_mapped(&mut self, socket: i32, mapping: Mapping) -> Record {
        let id = self.id(socket);
        done(self.files.message(id)).unwrap().unwrap();
        Record::from_bytes(&self.files.take(id, &self.caller, Some(mapping)).unwrap())
    }

    /// Makes an area in the socket's form, as the kernel does.
    fn make(&mut self, socket: i32, bytes: u64, mapping: Option<Mapping>) -> Result<Record, Errno> {
        let id = self.id(socket);
        let (area, _) = self.files.new_area(id, bytes)?;
        let record = self.files.settle(id, &self.caller, area, mapping)?;
        Ok(Record::from_bytes(&record))
    }

    fn sent(&mut self, port: u64) -> (Option<Vec<u8>>, [u64; 3]) {
        self.files.channels.ports.get_mut(&port).unwrap().sent.pop_front().unwrap()
    }

    /// Nothing is left here of any area.
    fn has_no_area(&self) -> bool {
        self.files.areas.len() == 0 && self.files.channels.areas.is_empty()
    }
}

#[test]
fn an_area_is_a_file_that_is_read_written_and_sent_back() {
    let mut process = Process::new();
    let (socket, port) = process.connected(Form::File, 0);
    let waits = key(process.receive(socket));
    process.woken();
    process.arrives(port, Some(b"question"), 42);
    assert!(process.woken().contains(&waits));
    assert_eq!(process.bits(socket), POLLIN | POLLOUT);
    let record = process.received(socket);
    assert_eq!((record.bytes, record.short, record.address, record.area), (8, [42, 0, 0], 0, 0));
    let file = process.open(record.name(), O_RDWR).unwrap();
    assert_eq!(process.files.read_all(file).unwrap(), b"question");
    let stat = process.files.fstat(file).unwrap();
    assert_eq!((stat.mode, stat.bytes, stat.links), (S_IFREG | 0o600, 8, 1));
    process.files.seek(file, 0, SEEK_SET).unwrap();
    assert_eq!(done(process.files.write(file, None, b"my reply")), Ok(8));
    assert_eq!(process.files.seek(file, -5, SEEK_END), Ok(3));
    assert_eq!(done(process.files.write(file, None, b"answer")), Ok(6));
    process.files.release(file);
    let reply = Record { short: [7, 8, 9], ..named(record.name()) };
    assert_eq!(done(process.send(socket, reply)), Ok(96));
    assert_eq!(process.sent(port), (Some(b"my answer".to_vec()), [7, 8, 9]));
    assert_eq!(process.open(record.name(), O_RDWR), Err(Errno::ENOENT));
    assert_eq!(process.files.channels.told, [port], "there is room for another");
    assert!(process.has_no_area());
}

#[test]
fn unlinking_a_file_discards_the_message_even_if_it_is_open_and_mapped() {
    let mut process = Process::new();
    let (socket, port) = process.connected(Form::File, 0);
    process.arrives(port, Some(b"data"), 0);
    let record = process.received(socket);
    let file = process.open(record.name(), O_RDWR).unwrap();
    let Ok(Mappable::Area(area, place)) = process.files.mappable(file, true, true) else {
        panic!("it is an area");
    };
    assert_eq!((place.pages, place.bytes), (1, 4));
    process.files.map_area(area, HERE).unwrap();
    let name = core::str::from_utf8(record.name()).unwrap();
    process.files.unlink(&ROOT, at(name)).unwrap();
    assert_eq!(process.files.revoked(), Some(Revoked { area, mapping: HERE, is_place_kept: true }));
    assert_eq!(process.files.revoked(), None);
    assert!(process.has_no_area());
    assert_eq!(process.files.channels.told, [port]);
    let (stale, mut out) = (Errno::ESTALE, [0; 4]);
    assert_eq!(process.files.read(file, None, &mut out), Err(stale));
    assert_eq!(process.files.write(file, None, b"x"), Err(stale));
    assert_eq!(process.files.seek(file, 0, SEEK_SET), Err(stale));
    assert_eq!(process.files.ftruncate(file, 1), Err(stale));
    assert_eq!(process.files.mappable(file, true, false), Err(stale));
    assert_eq!(process.files.fstat(file).unwrap().bytes, 0);
    process.files.unmap_area(area, HERE);
    process.files.release(file);
}

#[test]
fn what_is_sent_while_it_is_open_and_mapped_is_stale_and_revoked() {
    let mut process = Process::new();
    let (socket, port) = process.connected(Form::File, 0);
    process.arrives(port, Some(b"data"), 0);
    let record = process.received(socket);
    let file = process.open(record.name(), O_RDWR).unwrap();
    let Ok(Mappable::Area(area, _)) = process.files.mappable(file, true, true) else {
        panic!("it is an area");
    };
    let other = Mapping { space: SPACE + 1, ..HERE };
    process.files.map_area(area, HERE).unwrap();
    process.files.map_area(area, other).unwrap();
    done(process.send(socket, named(record.name()))).unwrap();
    let revoked = [process.files.revoked().unwrap(), process.files.revoked().unwrap()];
    assert_eq!(revoked.map(|revoked| revoked.mapping), [HERE, other]);
    assert_eq!(process.files.read(file, None, &mut [0; 4]), Err(Errno::ESTALE));
    assert_eq!(process.send(socket, named(record.name())), Err(Errno::ENOENT));
}

#[test]
fn an_area_is_mapped_sent_by_its_address_and_discarded_by_unmapping() {
    let mut process = Process::new();
    let (socket, port) = process.connected(Form::Mapping, 0);
    let id = process.id(socket);
    assert!(matches!(process.files.message(id), Ok(Step::Wait(_))));
    process.arrives(port, Some(b"in place"), 3);
    let message = done(process.files.message(id)).unwrap().unwrap();
    assert_eq!(message.area.map(|(_, place)| (place.pages, place.bytes)), Some((1, 8)));
    assert_eq!(process.files.take(id, &ROOT, None), Err(Errno::EINVAL), "the message stays");
    assert_eq!(process.receive(socket), Err(Errno::EINVAL));
    let record = process.take_mapped(socket, HERE);
    assert_eq!((record.address, record.bytes, record.short[0]), (HERE.address, 8, 3));
    for (address, bytes) in [(HERE.address + 4096, 8), (HERE.address, 4097)] {
        let wrong = Record { address, bytes, ..Record::short([0; 3]) };
        assert_eq!(process.send(socket, wrong), Err(Errno::EINVAL));
    }
    let reply = Record { address: HERE.address, bytes: 2, ..Record::short([4; 3]) };
    assert_eq!(done(process.send(socket, reply)), Ok(96));
    assert_eq!(process.sent(port), (Some(b"in".to_vec()), [4; 3]));
    let revoked = process.files.revoked().unwrap();
    assert_eq!((revoked.mapping, revoked.is_place_kept), (HERE, false), "it is unmapped");
    assert_eq!(process.send(socket, reply), Err(Errno::EINVAL), "it is not mapped any more");
    process.arrives(port, Some(b"next"), 0);
    let (area, _) = done(process.files.message(id)).unwrap().unwrap().area.unwrap();
    process.take_mapped(socket, HERE);
    process.files.unmap_area(area, HERE);
    assert!(process.has_no_area());
    assert_eq!(process.files.revoked(), None, "it was unmapped already");
}

#[test]
fn in_the_kernels_form_an_area_has_a_number() {
    let mut process = Process::new();
    let (socket, port) = process.connected(Form::Kernel, 0);
    process.arrives(port, Some(b"kernel"), 1);
    let record = process.received(socket);
    let (area, _) =
        process.files.areas.get(crate::AreaId(record.area)).map(|area| (area.place, ())).unwrap();
    assert_eq!((record.bytes, record.address, record.name()), (6, 0, &b""[..]));
    assert_eq!(process.files.kernels_area(&ROOT, record.area), Ok(area));
    assert_eq!(process.files.kernels_area(&OTHER, record.area), Err(Errno::EPERM));
    let reply = Record { area: record.area, bytes: 6, ..Record::short([2; 3]) };
    process.caller = OTHER;
    assert_eq!(process.send(socket, reply), Err(Errno::EPERM));
    assert_eq!(process.set_form(socket, Form::Kernel), Err(Errno::EPERM));
    process.caller = ROOT;
    assert_eq!(done(process.send(socket, reply)), Ok(96));
    assert_eq!(process.sent(port), (Some(b"kernel".to_vec()), [2; 3]));
    process.arrives(port, Some(b"waits"), 1);
    assert_eq!(process.files.kernels_area(&ROOT, record.area), Err(Errno::EINVAL), "it was sent");
    assert_eq!(process.files.kernels_area(&ROOT, record.area + 1), Err(Errno::EINVAL), "not taken");
    let guess = Record { area: record.area + 1, bytes: 1, ..Record::short([0; 3]) };
    assert_eq!(process.send(socket, guess), Err(Errno::EINVAL), "nobody has taken it yet");
    let record = process.received(socket);
    process.files.discard_kernels(&ROOT, &record).unwrap();
    assert_eq!(process.files.discard_kernels(&ROOT, &record), Err(Errno::EINVAL));
    process.arrives(port, Some(b"closed"), 1);
    process.received(socket);
    process.close(socket);
    assert!(process.has_no_area(), "what the kernel has goes with the socket");
}

#[test]
fn a_short_message_goes_alone() {
    for form in [Form::File, Form::Mapping, Form::Kernel] {
        let mut process = Process::new();
        let (socket, port) = process.connected(form, 0);
        let sent = Record::short([1, u64::MAX, 3]);
        assert_eq!(done(process.send(socket, sent)), Ok(96));
        assert_eq!(process.sent(port), (None, [1, u64::MAX, 3]));
        process.arrives(port, None, 5);
        let id = process.id(socket);
        let record = Record::from_bytes(&process.files.take(id, &ROOT, None).unwrap());
        assert_eq!(record, Record::short([5, 0, 0]), "{form:?}");
    }
}

#[test]
fn a_program_makes_areas_and_sends_them() {
    let mut process = Process::new();
    let (socket, port) = process.connected(Form::File, 0);
    let record = process.make(socket, 100, None).unwrap();
    let file = process.open(record.name(), O_RDWR).unwrap();
    assert_eq!(process.files.read_all(file).unwrap(), [0; 100]);
    assert_eq!(done(process.files.write(file, Some(0), b"new")), Ok(3));
    process.files.ftruncate(file, 3).unwrap();
    done(process.send(socket, named(record.name()))).unwrap();
    assert_eq!(process.sent(port).0, Some(b"new".to_vec()));
    process.set_form(socket, Form::Mapping).unwrap();
    let record = process.make(socket, 4096, Some(HERE)).unwrap();
    assert_eq!(record.address, HERE.address);
    let sent = Record { bytes: 10, ..record };
    done(process.send(socket, sent)).unwrap();
    assert_eq!(process.sent(port).0, Some([0; 10].to_vec()));
    process.set_form(socket, Form::Kernel).unwrap();
    let record = process.make(socket, 1, None).unwrap();
    done(process.send(socket, record)).unwrap();
    assert_eq!(process.sent(port).0, Some([0].to_vec()));
    assert!(process.has_no_area());
    assert_eq!(process.make(socket, 0, None), Err(Errno::EINVAL));
    assert_eq!(process.make(socket, 4097, None), Err(Errno::EMSGSIZE));
    assert_eq!(process.make(socket, u64::MAX, None), Err(Errno::EMSGSIZE));
    process.set_form(socket, Form::Mapping).unwrap();
    assert_eq!(process.make(socket, 1, None), Err(Errno::EINVAL));
    assert!(process.has_no_area(), "what could not be mapped is discarded");
    process.files.channels.free_areas = 0;
    assert_eq!(process.make(socket, 1, None), Err(Errno::ENOBUFS));
}

#[test]
fn without_room_at_the_peer_a_send_waits_and_keeps_the_file() {
    let mut process = Process::new();
    let (socket, port) = process.connected(Form::File, 0);
    process.files.channels.ports.get_mut(&port).unwrap().credits = 0;
    process.arrives(port, Some(b"data"), 0);
    let record = process.received(socket);
    let waits = key(process.send(socket, named(record.name())));
    assert_eq!(process.bits(socket), 0, "a poll does not tell of room");
    assert!(process.open(record.name(), O_RDONLY).is_ok());
    process.files.channels.ports.get_mut(&port).unwrap().credits = 1;
    process.woken();
    process.files.port_event(port);
    assert!(process.woken().contains(&waits));
    assert_eq!(process.bits(socket), POLLOUT);
    assert_eq!(done(process.send(socket, named(record.name()))), Ok(96));
    let (socket, port) = process.connected(Form::File, NON_BLOCKING);
    process.files.channels.ports.get_mut(&port).unwrap().credits = 0;
    assert_eq!(process.send(socket, Record::short([0; 3])), Err(Errno::EAGAIN));
    assert_eq!(process.receive(socket), Err(Errno::EAGAIN));
}

#[test]
fn a_send_that_is_refused_changes_nothing() {
    let mut process = Process::new();
    let (socket, port) = process.connected(Form::File, 0);
    let id = process.id(socket);
    process.arrives(port, Some(b"data"), 0);
    let record = process.received(socket);
    let send =
        |process: &mut Process, caller, data: &[u8]| process.files.send(id, &caller, SPACE, data);
    assert_eq!(send(&mut process, ROOT, &[0; 95]), Err(Errno::EINVAL));
    assert_eq!(send(&mut process, ROOT, &[0; 97]), Err(Errno::EINVAL));
    assert_eq!(send(&mut process, ROOT, &named(b"/dev/null").to_bytes()), Err(Errno::EINVAL));
    assert_eq!(send(&mut process, ROOT, &named(b"none").to_bytes()), Err(Errno::ENOENT));
    assert_eq!(send(&mut process, ROOT, &named(b"..").to_bytes()), Err(Errno::EINVAL));
    assert_eq!(send(&mut process, OTHER, &named(record.name()).to_bytes()), Err(Errno::EACCES));
    process.files.channels.leave(port);
    assert_eq!(process.send(socket, named(record.name())), Err(Errno::EPIPE));
    assert_eq!(process.files.contents("/areas/1").unwrap(), b"data");
    // The name may be relative to the directory.
    let (socket, _) = process.connected(Form::File, 0);
    assert_eq!(done(process.send(socket, named(b"1"))), Ok(96));
}

#[test]
fn an_area_of_another_class_than_the_peers_is_emsgsize() {
    let mut process = Process::new();
    let socket = process.socket(0);
    let id = process.id(socket);
    let window = Window { class: 1, ..Window::NEW }.to_bytes();
    process.files.set_socket_option(&ROOT, id, SOL_SHIKIRI, SHIKIRI_WINDOW, window).unwrap();
    let record = process.make(socket, 8192, None).unwrap();
    let (connected, _) = process.connected(Form::File, 0);
    assert_eq!(process.send(connected, named(record.name())), Err(Errno::EMSGSIZE));
    assert!(process.open(record.name(), O_RDONLY).is_ok());
}

#[test]
fn a_file_of_an_area_is_as_long_as_its_sender_says_up_to_its_pages() {
    let mut process = Process::new();
    let (socket, port) = process.connected(Form::File, 0);
    process.arrives(port, Some(b"data"), 0);
    let record = process.received(socket);
    let file = process.open(record.name(), O_RDWR).unwrap();
    assert_eq!(done(process.files.write(file, Some(4090), &[1; 99])), Ok(6));
    assert_eq!(process.files.write(file, Some(4096), b"x"), Err(Errno::EFBIG));
    assert_eq!(process.files.ftruncate(file, 4097), Err(Errno::EFBIG));
    assert_eq!(done(process.files.read(file, Some(u64::from(u32::MAX)), &mut [0; 4])), Ok(0));
    assert_eq!(process.files.fstat(file).unwrap().bytes, 4096);
}

#[test]
fn an_areas_file_has_one_name_which_can_be_changed() {
    let mut process = Process::new();
    let (socket, port) = process.connected(Form::File, 0);
    process.arrives(port, Some(b"one"), 0);
    process.arrives(port, Some(b"two"), 0);
    let names = [process.received(socket), process.received(socket)];
    let [one, two] =
        [&names[0], &names[1]].map(|record| core::str::from_utf8(record.name()).unwrap());
    assert_eq!(process.files.link(&ROOT, at(one), at("/tmp/x"), false), Err(Errno::EPERM));
    assert_eq!(process.files.rename(&OTHER, at(one), at("/tmp/x"), 0), Err(Errno::EPERM));
    process.files.rename(&ROOT, at(one), at("/tmp/x"), 0).unwrap();
    assert_eq!(process.files.contents("/tmp/x").unwrap(), b"one");
    process.files.rename(&ROOT, at("/tmp/x"), at(two), 0).unwrap();
    assert_eq!(
        (process.files.areas.len(), process.files.contents(two).unwrap()),
        (1, b"one".to_vec())
    );
    done(process.send(socket, named(two.as_bytes()))).unwrap();
    assert_eq!(process.sent(port).0, Some(b"one".to_vec()));
    assert!(process.has_no_area());
    let directory = process.open(b"/areas", O_RDONLY).unwrap();
    assert!(process.files.directory(directory).is_ok());
}

#[test]
fn files_of_areas_are_their_owners() {
    let mut process = Process::new();
    process.caller = OTHER;
    let (socket, port) = process.connected(Form::File, 0);
    process.arrives(port, Some(b"mine"), 0);
    let record = process.received(socket);
    let path = core::str::from_utf8(record.name()).unwrap();
    let third = crate::Caller { user: 77, group: 77, ..OTHER };
    assert_eq!(process.files.open(&third, at(path), O_RDONLY, 0), Err(Errno::EACCES));
    assert_eq!(process.files.unlink(&third, at(path)), Err(Errno::EPERM));
    // Who may write to it may not take it away from its owner.
    process.files.chmod(&OTHER, at(path), 0o666).unwrap();
    let id = process.id(socket);
    let sent = process.files.send(id, &third, SPACE, &named(record.name()).to_bytes());
    assert_eq!(sent, Err(Errno::EPERM));
    assert_eq!(process.files.unlink(&OTHER, at(path)), Ok(()));
}

#[test]
fn without_room_for_a_name_the_message_stays() {
    let mut process = Process::new();
    let (socket, port) = process.connected(Form::File, 0);
    process.arrives(port, Some(b"data"), 9);
    let mut count = 0;
    while let Ok(id) = process.open(std::format!("/tmp/{count}").as_bytes(), O_CREAT | O_EXCL) {
        process.files.release(id);
        count += 1;
    }
    assert_eq!(process.receive(socket), Err(Errno::ENOSPC));
    process.files.unlink(&ROOT, at("/tmp/0")).unwrap();
    assert_eq!(process.received(socket).short[0], 9);
}

#[test]
fn a_closed_socket_leaves_files_and_mappings_and_discards_what_nobody_has_taken() {
    let mut process = Process::new();
    let (socket, port) = process.connected(Form::File, 0);
    (0..3).for_each(|number| process.arrives(port, Some(b"data"), number));
    let record = process.received(socket);
    process.set_form(socket, Form::Mapping).unwrap();
    process.take_mapped(socket, HERE);
    process.close(socket);
    assert_eq!(process.files.areas.len(), 2);
    assert_eq!(process.files.channels.areas.len(), 2);
    let path = core::str::from_utf8(record.name()).unwrap();
    process.files.unlink(&ROOT, at(path)).unwrap();
    let area = process.files.areas.mapped_at(HERE).unwrap();
    process.files.unmap_area(area, HERE);
    assert!(process.has_no_area());
}

#[test]
fn mappings_of_files_follow_their_access_and_have_a_bound() {
    let mut process = Process::new();
    let (socket, port) = process.connected(Form::File, 0);
    process.arrives(port, Some(b"data"), 9);
    let record = process.received(socket);
    let (read, write) = (
        process.open(record.name(), O_RDONLY).unwrap(),
        process.open(record.name(), O_WRONLY).unwrap(),
    );
    assert!(matches!(process.files.mappable(read, true, false), Ok(Mappable::Area(..))));
    assert_eq!(process.files.mappable(read, false, true), Ok(Mappable::Copy));
    assert_eq!(process.files.mappable(read, true, true), Err(Errno::EACCES));
    assert_eq!(process.files.mappable(write, true, true), Err(Errno::EACCES));
    let Ok(Mappable::Area(area, _)) = process.files.mappable(read, true, false) else {
        panic!("it is an area");
    };
    for number in 0..16 {
        process.files.map_area(area, Mapping { space: number, ..HERE }).unwrap();
    }
    assert_eq!(process.files.map_area(area, HERE), Err(Errno::ENOMEM));
    for number in 4..16 {
        process.files.unmap_area(area, Mapping { space: number, ..HERE });
    }
    // It is sent by its name, not by where it is mapped.
    process.set_form(socket, Form::Mapping).unwrap();
    let mapping = Record { address: HERE.address, bytes: 1, ..Record::short([0; 3]) };
    let id = process.id(socket);
    assert_eq!(process.files.send(id, &ROOT, 3, &mapping.to_bytes()), Err(Errno::EINVAL));
    for number in 0..4 {
        process.files.unmap_area(area, Mapping { space: number, ..HERE });
    }
    assert_eq!(process.files.read_all(read).unwrap(), b"data", "the file has it still");
}
