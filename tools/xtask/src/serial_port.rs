//! The other end of a board's serial line: a serial device, or `tcp:HOST:PORT`.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt as _;

use anyhow::{Context as _, Result};
use rustix::fs::OFlags;
use rustix::termios::{OptionalActions, isatty, tcgetattr, tcsetattr};

/// What the board's console speaks.
const BAUD: u32 = 115_200;

/// Both directions of a line.
pub(crate) trait Line: Read + Write + Send {}

impl<T: Read + Write + Send> Line for T {}

/// Opens the line. A serial device is made raw, 115,200 baud.
pub(crate) fn open(port: &str) -> Result<Box<dyn Line>> {
    if let Some(address) = port.strip_prefix("tcp:") {
        let stream = TcpStream::connect(address).with_context(|| format!("{port}: no answer"))?;
        return Ok(Box::new(stream));
    }
    let flags = i32::try_from((OFlags::NOCTTY).bits())?;
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(port);
    let file = file.with_context(|| format!("{port} cannot be opened"))?;
    if isatty(&file) {
        let mut settings = tcgetattr(&file)?;
        settings.make_raw();
        settings.set_speed(BAUD)?;
        tcsetattr(&file, OptionalActions::Flush, &settings)
            .with_context(|| format!("{port} does not take {BAUD} baud"))?;
    }
    Ok(Box::new(file))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_tcp_port_is_a_line_in_both_directions() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let mut line = open(&format!("tcp:{address}")).unwrap();
        let (mut board, _) = listener.accept().unwrap();
        let mut text = [0; 2];
        board.write_all(b"hi").unwrap();
        line.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"hi");
        line.write_all(b"ho").unwrap();
        board.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"ho");
    }

    #[test]
    fn a_port_that_is_not_there_is_named() {
        let error = open("/dev/no-such-port").err().unwrap().to_string();
        assert_eq!(error, "/dev/no-such-port cannot be opened");
    }
}
