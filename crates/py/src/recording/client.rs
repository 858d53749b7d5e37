//! One who is connected to the socket ([`super::listen`]) and looks into this program: who it is, its questions, the answers on their way.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::{json, Value};

use super::listen::user;
use super::live::Live;

/// A question is not longer.
const LONGEST_LINE: usize = 64 << 10;
const MOST_CLIENTS: usize = 32;
/// Bytes of answers that wait for a client to read them.
const MOST_UNREAD: usize = 64 << 20;
/// A client that doesn't read for so long is let go.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Client {
    pub stream: UnixStream,
    peer: i32,
    /// The beginning of a question.
    line: Vec<u8>,
    /// Of answers, from `sent` on.
    unread: Vec<u8>,
    sent: usize,
    read_at: Instant,
    /// It gets what is unread and no more.
    is_leaving: bool,
    pub is_over: bool,
}

impl Client {
    pub fn new(stream: UnixStream, others: usize) -> io::Result<Client> {
        stream.set_nonblocking(true)?;
        let (peer, uid) = peer_of(&stream)?;
        let mut client = Client {
            stream,
            peer,
            line: Vec::new(),
            unread: Vec::new(),
            sent: 0,
            read_at: Instant::now(),
            is_leaving: false,
            is_over: false,
        };
        if uid != user() && uid != 0 {
            client.refuse(&format!("this program is another user's (number {}, and you are {uid})", user()));
        } else if others >= MOST_CLIENTS {
            client.refuse(&format!("{MOST_CLIENTS} others are looking already"));
        }
        Ok(client)
    }

    /// Whether there is something for it to read.
    pub fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    fn refuse(&mut self, why: &str) {
        self.say(&json!({"refused": why}));
        self.is_leaving = true;
    }

    fn say(&mut self, said: &Value) {
        if self.unread.is_empty() {
            self.read_at = Instant::now();
        }
        self.unread.extend_from_slice(said.to_string().as_bytes());
        self.unread.push(b'\n');
    }

    pub fn serve(&mut self, live: &mut Live) {
        let mut buffer = [0; 8192];
        while !self.is_leaving && self.unread.len() - self.sent <= MOST_UNREAD {
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    self.is_leaving = true;
                }
                Ok(count) => self.take(&buffer[..count], live),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => {
                    self.is_over = true;
                    return;
                }
            }
        }
        self.send();
    }

    fn take(&mut self, mut bytes: &[u8], live: &mut Live) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            self.line.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.line);
            if line.len() > LONGEST_LINE {
                return self.refuse("a question is one line of at most 65,536 bytes");
            }
            match serde_json::from_slice::<Value>(&line) {
                Ok(Value::Object(asked)) => {
                    let question = asked.get("ask").and_then(Value::as_str).unwrap_or_default().to_owned();
                    let arguments = asked.get("arguments").cloned().unwrap_or(Value::Null);
                    self.say(&live.answer(&question, &arguments, self.peer));
                }
                _ => return self.refuse("a question is one line of JSON: {\"ask\": \"summary\", \"arguments\": {}}"),
            }
        }
        self.line.extend_from_slice(bytes);
        if self.line.len() > LONGEST_LINE {
            self.refuse("a question is one line of at most 65,536 bytes");
        }
    }

    fn send(&mut self) {
        while self.sent < self.unread.len() {
            match self.stream.write(&self.unread[self.sent..]) {
                Ok(count) => {
                    self.sent += count;
                    self.read_at = Instant::now();
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.is_over = self.read_at.elapsed() > PATIENCE;
                    return;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.is_over = true;
                    return;
                }
            }
        }
        self.unread = Vec::new();
        self.sent = 0;
        self.is_over |= self.is_leaving;
    }
}

/// The number and the user of the process at the other end.
fn peer_of(stream: &UnixStream) -> io::Result<(i32, u32)> {
    let mut peer = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut size = std::mem::size_of_val(&peer) as libc::socklen_t;
    // SAFETY: a place of that size.
    let status = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            std::ptr::from_mut(&mut peer).cast(),
            &mut size,
        )
    };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((peer.pid, peer.uid))
}
