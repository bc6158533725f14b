//! The calls that make, connect and close sockets (C6).
//!
//! A service is one socket's at a time. Requests of other partitions are taken as they come ([`Files::signal_event`]): those for a service that
//! is listened for wait there, up to its backlog; all others are refused at once.

use super::{DescriptionId, Files};
use crate::abi::fcntl::{O_NONBLOCK, O_RDWR};
use crate::abi::socket::{
    AF_SHIKIRI, Address, Form, PARTITION_ANY, SHIKIRI_FORM, SHIKIRI_WINDOW, SHUT_RD, SHUT_RDWR,
    SHUT_WR, SO_ACCEPTCONN, SO_DOMAIN, SO_ERROR, SO_PROTOCOL, SO_TYPE, SOCK_CLOEXEC, SOCK_NONBLOCK,
    SOCK_SEQPACKET, SOL_SHIKIRI, SOL_SOCKET, Window,
};
use crate::description::{Description, What};
use crate::descriptors::Descriptor;
use crate::socket::{
    BACKLOG, Channels, Connected, Connecting, Listening, Peer, Refusal, Request, Socket, State,
};
use crate::{Answer, Caller, Descriptors, Errno, Step};

/// The most requests that are taken at once.
const AT_ONCE: usize = 64;

impl<C: Channels> Files<C> {
    /// Makes a socket. `kind` is SOCK_SEQPACKET, with SOCK_NONBLOCK or not; SOCK_CLOEXEC is [`Files::install`]'s.
    ///
    /// # Errors
    /// EAFNOSUPPORT, ESOCKTNOSUPPORT, EPROTONOSUPPORT, EINVAL for other flags; ENFILE.
    pub fn socket(
        &mut self,
        family: u32,
        kind: u32,
        protocol: u32,
    ) -> Result<DescriptionId, Errno> {
        if family != u32::from(AF_SHIKIRI) || !self.channels.is_there() {
            return Err(Errno::EAFNOSUPPORT);
        }
        if kind & !(0xf | SOCK_NONBLOCK | SOCK_CLOEXEC) != 0 {
            return Err(Errno::EINVAL);
        }
        if kind & 0xf != SOCK_SEQPACKET {
            return Err(Errno::ESOCKTNOSUPPORT);
        }
        if protocol != 0 {
            return Err(Errno::EPROTONOSUPPORT);
        }
        let socket = Socket::new(&mut self.wakes);
        self.add_socket(socket, kind & SOCK_NONBLOCK != 0)
    }

    fn add_socket(
        &mut self,
        socket: Socket,
        is_non_blocking: bool,
    ) -> Result<DescriptionId, Errno> {
        let flags = if is_non_blocking { O_RDWR | O_NONBLOCK } else { O_RDWR };
        let what = What::Socket(alloc::boxed::Box::new(socket));
        self.add(Description::new(what, None, flags))
    }

    pub(super) fn socket_of(&self, id: DescriptionId) -> Result<&Socket, Errno> {
        match &self.description(id)?.what {
            What::Socket(socket) => Ok(socket),
            What::Path => Err(Errno::EBADF),
            _ => Err(Errno::ENOTSOCK),
        }
    }

    pub(super) fn socket_mut(&mut self, id: DescriptionId) -> Result<&mut Socket, Errno> {
        match &mut self.description_mut(id)?.what {
            What::Socket(socket) => Ok(socket),
            What::Path => Err(Errno::EBADF),
            _ => Err(Errno::ENOTSOCK),
        }
    }

    /// EAGAIN instead of waiting, in non-blocking mode.
    pub(super) fn waiting<T>(&self, id: DescriptionId, answer: Answer<T>) -> Answer<T> {
        self.description(id)?.waiting(answer)
    }

    /// Binds a socket to a service.
    ///
    /// # Errors
    /// EADDRINUSE if another socket has it; EINVAL if this one has one already; EADDRNOTAVAIL for anything but PARTITION_ANY; ENOTSOCK.
    pub fn bind(&mut self, id: DescriptionId, address: &Address) -> Result<(), Errno> {
        let socket = self.socket_of(id)?;
        if socket.service.is_some() || !matches!(socket.state, State::New) {
            return Err(Errno::EINVAL);
        }
        if address.partition != PARTITION_ANY || address.name() != b"" {
            return Err(Errno::EADDRNOTAVAIL);
        }
        if self.bound_to(address.service).is_some() {
            return Err(Errno::EADDRINUSE);
        }
        self.socket_mut(id)?.service = Some(address.service);
        Ok(())
    }

    /// The socket that is bound to a service.
    fn bound_to(&self, service: u32) -> Option<DescriptionId> {
        let mut all = self.descriptions.iter();
        let found = all.find(|(_, description)| match &description.what {
            What::Socket(socket) => {
                let is_server = matches!(socket.state, State::New | State::Listening(_));
                is_server && socket.service == Some(service)
            }
            _ => false,
        });
        found.map(|(id, _)| *id)
    }

    /// Permits requests for the service: so many may wait, at most 64. A backlog of 0 withdraws the permission, and refuses those that wait.
    ///
    /// # Errors
    /// EDESTADDRREQ if it is not bound; EINVAL if it is connected; ENOTSOCK.
    pub fn listen(&mut self, id: DescriptionId, backlog: i32) -> Result<(), Errno> {
        // As on Linux, what is negative is as much as there may be.
        let backlog = usize::try_from(backlog).unwrap_or(BACKLOG).min(BACKLOG);
        let socket = self.socket_mut(id)?;
        if socket.service.is_none() {
            return Err(Errno::EDESTADDRREQ);
        }
        let mut requests = match &mut socket.state {
            State::New => alloc::collections::VecDeque::new(),
            State::Listening(listening) => core::mem::take(&mut listening.requests),
            _ => return Err(Errno::EINVAL),
        };
        let refused = requests.split_off(requests.len().min(backlog));
        socket.state = match backlog {
            0 => State::New,
            _ => State::Listening(Listening { backlog, requests }),
        };
        self.refuse_all(refused);
        self.signal_event();
        Ok(())
    }

    fn refuse_all(&mut self, requests: impl IntoIterator<Item = Request>) {
        for request in requests {
            self.channels.refuse(request.handle);
        }
    }

    /// Requests have come: to be called at the interrupt about control signals, and again while the answer is true.
    pub fn signal_event(&mut self) -> bool {
        for _ in 0..AT_ONCE {
            match self.channels.take_request() {
                Ok(Some(request)) => self.queue_request(request),
                // What has no handle waits at its sender; it is looked for again when a request was answered.
                Ok(None) | Err(_) => return false,
            }
        }
        true
    }

    fn queue_request(&mut self, request: Request) {
        if let Some(id) = self.bound_to(request.service)
            && let Ok(socket) = self.socket_mut(id)
            && let State::Listening(listening) = &mut socket.state
            && listening.requests.len() < listening.backlog
        {
            listening.requests.push_back(request);
            let key = socket.readers;
            self.wakes.wake(key);
        } else {
            self.channels.refuse(request.handle);
        }
    }

    /// Accepts the oldest request of a listening socket: a new descriptor with O_NONBLOCK and O_CLOEXEC as `flags` has SOCK_NONBLOCK and
    /// SOCK_CLOEXEC, and who has asked. If there is no room for it, the request stays.
    ///
    /// # Errors
    /// EINVAL if it does not listen; EMFILE, ENFILE; ENOBUFS or ENOMEM if there is no port to be had; EAGAIN in non-blocking mode; ENOTSOCK.
    pub fn accept(
        &mut self,
        descriptors: &mut Descriptors,
        number: i32,
        flags: u32,
    ) -> Answer<(i32, Address)> {
        let id = descriptors.get(number)?;
        if flags & !(SOCK_NONBLOCK | SOCK_CLOEXEC) != 0 {
            return Err(Errno::EINVAL);
        }
        let State::Listening(listening) = &self.socket_of(id)?.state else {
            return Err(Errno::EINVAL);
        };
        if listening.requests.is_empty() {
            let waits = Ok(Step::Wait(self.socket_of(id)?.readers));
            return self.waiting(id, waits);
        }
        descriptors.lowest_free(0)?;
        self.check_room(1)?;
        let Some((port, request)) = self.accept_next(id)? else {
            let waits = Ok(Step::Wait(self.socket_of(id)?.readers));
            return self.waiting(id, waits);
        };
        let new = self.accepted(id, port, request, flags)?;
        let is_closed_on_exec = flags & SOCK_CLOEXEC != 0;
        let number = descriptors.add(0, Descriptor { description: new, is_closed_on_exec })?;
        Ok(Step::Done((number, self.peer_name(new)?)))
    }

    /// Connects a new port to the oldest request whose sender is still there.
    fn accept_next(&mut self, id: DescriptionId) -> Result<Option<(u64, Request)>, Errno> {
        let window = self.socket_of(id)?.window;
        let port = self.channels.create(window).map_err(Refusal::errno)?;
        while let Some(request) = self.oldest_request(id)? {
            if self.channels.accept(request.handle, port).is_ok() {
                // There may be a handle again for one that waits.
                self.signal_event();
                return Ok(Some((port, request)));
            }
            self.channels.refuse(request.handle);
        }
        self.channels.close(port);
        self.signal_event();
        Ok(None)
    }

    fn oldest_request(&mut self, id: DescriptionId) -> Result<Option<Request>, Errno> {
        match &mut self.socket_mut(id)?.state {
            State::Listening(listening) => Ok(listening.requests.pop_front()),
            _ => Ok(None),
        }
    }

    fn accepted(
        &mut self,
        listener: DescriptionId,
        port: u64,
        request: Request,
        flags: u32,
    ) -> Result<DescriptionId, Errno> {
        let (form, window) = {
            let listener = self.socket_of(listener)?;
            (listener.form, listener.window)
        };
        let (partition, name) =
            self.channels.partition_with_id(request.from).unwrap_or((PARTITION_ANY, [0; 32]));
        let peer = Peer { partition, id: request.from, service: request.service, name };
        let mut socket = Socket::new(&mut self.wakes);
        socket.state = State::Connected(Connected::new(port, peer));
        (socket.form, socket.window) = (form, window);
        socket.service = Some(request.service);
        let id = self.add_socket(socket, flags & SOCK_NONBLOCK != 0)?;
        self.ports.insert(port, id);
        self.look(id)?;
        Ok(id)
    }

    /// Asks a partition, by its number or its name, to connect the socket to a service, and waits for its answer.
    ///
    /// # Errors
    /// ECONNREFUSED, EHOSTDOWN if the partition is not running or has ended, EHOSTUNREACH if there is none of that name or number, EACCES if it
    /// may not be asked, ENOBUFS, ENOMEM; EINPROGRESS in non-blocking mode, then EALREADY until there is an answer; EISCONN; EOPNOTSUPP for a
    /// socket that listens; ENOTSOCK.
    pub fn connect(&mut self, id: DescriptionId, address: &Address) -> Answer<()> {
        let is_non_blocking = self.description(id)?.is_non_blocking();
        let socket = self.socket_mut(id)?;
        if let Some(errno) = socket.error.take() {
            return Err(errno);
        }
        let waits = Ok(Step::Wait(socket.writers));
        match socket.state {
            State::New => {}
            State::Asking { .. } if is_non_blocking => return Err(Errno::EALREADY),
            State::Asking { .. } => return waits,
            // A call that has waited is told that it is done; who asks again for what it has told is told so.
            State::Connected(ref mut connected) => {
                let was_waited_for = core::mem::take(&mut connected.is_to_tell);
                return if was_waited_for { Ok(Step::Done(())) } else { Err(Errno::EISCONN) };
            }
            State::Listening(_) => return Err(Errno::EOPNOTSUPP),
            State::Gone => return Err(Errno::EISCONN),
        }
        self.ask(id, address)?;
        if is_non_blocking { Err(Errno::EINPROGRESS) } else { waits }
    }

    fn ask(&mut self, id: DescriptionId, address: &Address) -> Result<(), Errno> {
        let partition = match (address.partition, address.name()) {
            (PARTITION_ANY, b"") => None,
            (PARTITION_ANY, name) => self.channels.number_of_name(name),
            (number, _) => Some(number),
        };
        let partition = partition.ok_or(Errno::EHOSTUNREACH)?;
        let (life, name) = self.channels.partition(partition).ok_or(Errno::EHOSTUNREACH)?;
        let window = self.socket_of(id)?.window;
        let port = self.channels.create(window).map_err(Refusal::errno)?;
        if let Err(refusal) = self.channels.connect(port, partition, address.service) {
            self.channels.close(port);
            return Err(refusal.errno());
        }
        let peer = Peer { partition, id: life, service: address.service, name };
        self.socket_mut(id)?.state = State::Asking { port, peer };
        self.ports.insert(port, id);
        Ok(())
    }

    /// Something has happened at a port: to be called at its interrupt.
    pub fn port_event(&mut self, port: u64) {
        let Some(id) = self.ports.get(&port).copied() else { return };
        // What is not a socket has no port.
        let _is_looked_at = self.look(id);
    }

    /// Looks for an answer, a message, or the peer's end.
    pub(super) fn look(&mut self, id: DescriptionId) -> Result<(), Errno> {
        if let State::Asking { port, peer } = self.socket_of(id)?.state {
            self.look_for_answer(id, port, peer)?;
        }
        if let Ok(connected) = self.socket_mut(id)?.connected_mut() {
            connected.is_full = false;
            self.fill(id)?;
        }
        let socket = self.socket_of(id)?;
        let keys = [socket.readers, socket.writers];
        keys.into_iter().for_each(|key| self.wakes.wake(key));
        Ok(())
    }

    fn look_for_answer(&mut self, id: DescriptionId, port: u64, peer: Peer) -> Result<(), Errno> {
        let error = match self.channels.answer(port) {
            Connecting::Open => return Ok(()),
            Connecting::Connected => {
                let is_to_tell = !self.description(id)?.is_non_blocking();
                let connected = Connected { is_to_tell, ..Connected::new(port, peer) };
                self.socket_mut(id)?.state = State::Connected(connected);
                return Ok(());
            }
            Connecting::Refused => Errno::ECONNREFUSED,
            Connecting::PeerGone => Errno::EHOSTDOWN,
        };
        self.ports.remove(&port);
        self.channels.close(port);
        let socket = self.socket_mut(id)?;
        socket.state = State::New;
        socket.error = Some(error);
        Ok(())
    }

    /// Ends one direction or both. After SHUT_RD what comes is discarded; after both the port is closed, and the peer told.
    ///
    /// # Errors
    /// ENOTCONN; EINVAL; ENOTSOCK.
    pub fn shutdown(&mut self, id: DescriptionId, how: u32) -> Result<(), Errno> {
        if let What::Pair(pair) = self.description(id)?.what {
            return self.shut_pair(pair, how);
        }
        let connected = self.socket_mut(id)?.connected_mut();
        let (is_read, is_write) = match how {
            SHUT_RD => (true, false),
            SHUT_WR => (false, true),
            SHUT_RDWR => (true, true),
            _ => return Err(Errno::EINVAL),
        };
        let connected = connected?;
        connected.is_read_shut |= is_read;
        connected.is_write_shut |= is_write;
        let is_over = connected.is_read_shut && connected.is_write_shut;
        let next = if is_read { connected.next.take() } else { None };
        if let Some(area) = next.and_then(|waiting| waiting.area) {
            self.discard(area);
        }
        self.fill(id)?;
        if is_over {
            self.close_port(id)?;
            self.socket_mut(id)?.state = State::Gone;
        }
        let socket = self.socket_of(id)?;
        let keys = [socket.readers, socket.writers];
        keys.into_iter().for_each(|key| self.wakes.wake(key));
        Ok(())
    }

    fn close_port(&mut self, id: DescriptionId) -> Result<(), Errno> {
        if let Some(port) = self.socket_of(id)?.port() {
            self.ports.remove(&port);
            self.channels.close(port);
            self.areas.forget_home(port);
        }
        Ok(())
    }

    /// The last descriptor of a socket has gone: its port is closed, what nobody has taken is discarded, and requests are refused.
    pub(super) fn close_socket(&mut self, id: DescriptionId, socket: Socket) {
        while let Some(area) = self.areas.held_by(id) {
            self.discard(area);
        }
        if let Some(port) = socket.port() {
            self.ports.remove(&port);
            self.channels.close(port);
            self.areas.forget_home(port);
        }
        if let State::Listening(listening) = socket.state {
            self.refuse_all(listening.requests);
            self.signal_event();
        }
        [socket.readers, socket.writers].into_iter().for_each(|key| self.wakes.wake(key));
    }

    /// The address of the other end (`getpeername`).
    ///
    /// # Errors
    /// ENOTCONN; ENOTSOCK.
    pub fn peer_name(&self, id: DescriptionId) -> Result<Address, Errno> {
        let peer = self.socket_of(id)?.peer().ok_or(Errno::ENOTCONN)?;
        let Peer { partition, id, service, name } = peer;
        Ok(Address { partition, service, id, name })
    }

    /// The address that the socket is bound to (`getsockname`): service 0 if to none.
    ///
    /// # Errors
    /// ENOTSOCK.
    pub fn socket_name(&self, id: DescriptionId) -> Result<Address, Errno> {
        let service = self.socket_of(id)?.service.unwrap_or(0);
        Ok(Address { partition: PARTITION_ANY, service, id: 0, name: [0; 32] })
    }

    /// Reads an option: four bytes.
    ///
    /// # Errors
    /// ENOPROTOOPT; ENOTSOCK.
    pub fn socket_option(
        &mut self,
        id: DescriptionId,
        level: u32,
        name: u32,
    ) -> Result<[u8; 4], Errno> {
        let socket = self.socket_mut(id)?;
        let number = match (level, name) {
            (SOL_SHIKIRI, SHIKIRI_WINDOW) => return Ok(socket.window.to_bytes()),
            (SOL_SHIKIRI, SHIKIRI_FORM) => socket.form.number(),
            (SOL_SOCKET, SO_ERROR) => {
                socket.error.take().map_or(0, |errno| u32::from(errno.number()))
            }
            (SOL_SOCKET, SO_TYPE) => SOCK_SEQPACKET,
            (SOL_SOCKET, SO_DOMAIN) => u32::from(AF_SHIKIRI),
            (SOL_SOCKET, SO_PROTOCOL) => 0,
            (SOL_SOCKET, SO_ACCEPTCONN) => u32::from(matches!(socket.state, State::Listening(_))),
            _ => return Err(Errno::ENOPROTOOPT),
        };
        Ok(number.to_le_bytes())
    }

    /// Sets an option of four bytes: SHIKIRI_FORM, SHIKIRI_WINDOW.
    ///
    /// # Errors
    /// ENOPROTOOPT; EINVAL for a value that is none; EPERM for the kernel's form if the caller may not do everything; EISCONN for the window of
    /// a socket that is connected or has asked; ENOTSOCK.
    pub fn set_socket_option(
        &mut self,
        caller: &Caller,
        id: DescriptionId,
        level: u32,
        name: u32,
        value: [u8; 4],
    ) -> Result<(), Errno> {
        let socket = self.socket_mut(id)?;
        match (level, name) {
            (SOL_SHIKIRI, SHIKIRI_FORM) => {
                let form = Form::from_number(u32::from_le_bytes(value))?;
                if form == Form::Kernel && caller.user != 0 {
                    return Err(Errno::EPERM);
                }
                socket.form = form;
            }
            (SOL_SHIKIRI, SHIKIRI_WINDOW) => {
                let window = Window::from_bytes(value)?;
                if !matches!(socket.state, State::New | State::Listening(_)) {
                    return Err(Errno::EISCONN);
                }
                socket.window = window;
            }
            _ => return Err(Errno::ENOPROTOOPT),
        }
        Ok(())
    }

    /// How areas are given to the program; `None` for what is no socket.
    #[must_use]
    pub fn socket_form(&self, id: DescriptionId) -> Option<Form> {
        self.socket_of(id).ok().map(|socket| socket.form)
    }
}
