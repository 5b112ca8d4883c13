//! Messages between two processes of a run: a length and so many bytes of JSON.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest message, in bytes: a roster of a thousand ranks fits.
const LONGEST: u32 = 1 << 20;

/// The longest first message of somebody not known yet.
pub(super) const LONGEST_HELLO: u32 = 1 << 12;

/// Sends a message, for at most a second or so: it is short, and the other side reads all the time.
pub(super) fn send<T: Serialize>(mut to: &TcpStream, message: &T) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let length = u32::try_from(text.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    to.set_write_timeout(Some(Duration::from_secs(1)))?;
    to.write_all(&[length.to_be_bytes().as_slice(), &text].concat())
}

/// Waits for a message.
///
/// # Errors
/// When the other side closes, sends something else, or `until` comes.
pub(super) fn receive<T: DeserializeOwned>(
    from: &TcpStream,
    until: Option<Instant>,
    longest: u32,
) -> io::Result<T> {
    let mut length = [0; 4];
    fill(from, &mut length, until)?;
    let length = u32::from_be_bytes(length);
    if length > longest {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut text = vec![0; length as usize];
    fill(from, &mut text, until)?;
    Ok(serde_json::from_slice(&text)?)
}

/// The same for messages of somebody known.
pub(super) fn receive_any<T: DeserializeOwned>(from: &TcpStream, until: Option<Instant>) -> io::Result<T> {
    receive(from, until, LONGEST)
}

/// Reads all of `bytes`. The time is for all of it: somebody who sends a byte a minute does not hold us.
fn fill(mut from: &TcpStream, bytes: &mut [u8], until: Option<Instant>) -> io::Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        let left = match until {
            None => None,
            Some(until) => match until.saturating_duration_since(Instant::now()) {
                Duration::ZERO => return Err(io::ErrorKind::TimedOut.into()),
                left => Some(left),
            },
        };
        from.set_read_timeout(left)?;
        match from.read(&mut bytes[filled..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
