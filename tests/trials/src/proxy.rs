//! A network between paidup and its database that fails on demand.
//!
//! All connections share one state. What was on its way when the network went silent arrives when it
//! heals, as TCP would send it again; a connection that was opened meanwhile is taken and stays silent.
//!
//! It has a thread of its own: among thousands of callers' tasks each message would wait for seconds, and the
//! network would be slow when it is to be quick.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::time::sleep;

use crate::Result;
use crate::process::free_address;

const BUFFER_BYTES: usize = 16 * 1024;

/// What the network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: it works.
    None,
    /// It takes everything and delivers nothing, and nobody is told.
    BlackHole,
    /// Each piece arrives late.
    Delay(Duration),
    /// Every connection is reset, and so is each that is opened.
    Reset,
    /// Each direction of a connection ends after so many more bytes, in the middle of a message.
    Cut(usize),
    /// Nothing listens.
    Refuse,
}

#[derive(Debug, Clone, Copy)]
struct State {
    fault: Fault,
    upstream: SocketAddr,
    /// Counts the times that it was set: connections of an earlier one are reset by some faults.
    setting: u64,
}

pub struct Proxy {
    pub address: SocketAddr,
    state: watch::Sender<State>,
    /// Its thread ends when this is dropped.
    _open: oneshot::Sender<()>,
}

impl Proxy {
    pub async fn start(upstream: SocketAddr) -> Result<Self> {
        let address = free_address()?;
        let state = State { fault: Fault::None, upstream, setting: 0 };
        let (state, watch) = watch::channel(state);
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (open, closed) = oneshot::channel();
        std::thread::spawn(move || {
            runtime.block_on(async {
                let Ok(listener) = TcpListener::from_std(listener) else { return };
                tokio::select! {
                    () = accept(address, listener, watch) => {}
                    _ = closed => {}
                }
            });
        });
        Ok(Self { address, state, _open: open })
    }

    pub fn set(&self, fault: Fault) {
        self.state.send_modify(|state| {
            state.fault = fault;
            state.setting += 1;
        });
    }

    /// New connections go there from now on, and those that are open are reset.
    pub fn point_to(&self, upstream: SocketAddr) {
        self.state.send_modify(|state| {
            *state = State { fault: Fault::Reset, upstream, setting: state.setting + 1 };
        });
        self.set(Fault::None);
    }
}

async fn accept(address: SocketAddr, listener: TcpListener, mut state: watch::Receiver<State>) {
    let mut listener = Some(listener);
    loop {
        let now = *state.borrow_and_update();
        if now.fault == Fault::Refuse {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(address).await.ok();
        }
        let Some(open) = &listener else {
            if state.changed().await.is_err() {
                return;
            }
            continue;
        };
        tokio::select! {
            accepted = open.accept() => if let Ok((stream, _)) = accepted {
                tokio::spawn(carry(stream, state.clone()));
            },
            changed = state.changed() => if changed.is_err() { return },
        }
    }
}

/// One connection, both ways, until either end or the network ends it.
async fn carry(near: TcpStream, mut state: watch::Receiver<State>) {
    let _ = near.set_nodelay(true);
    // Whoever comes while it is silent is kept waiting.
    let Ok(now) = state.wait_for(|state| state.fault != Fault::BlackHole).await.map(|state| *state)
    else {
        return;
    };
    if now.fault == Fault::Reset {
        let _ = near.set_zero_linger();
        return;
    }
    let Ok(far) = TcpStream::connect(now.upstream).await else { return };
    let _ = far.set_nodelay(true);
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let is_over = tokio::select! {
        cut = pump(near_read, far_write, state.clone(), now.setting) => cut,
        cut = pump(far_read, near_write, state.clone(), now.setting) => cut,
    };
    drop(is_over);
}

/// One direction. Dropping what it returns ends the connection, with a reset if that was set.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    born: u64,
) -> Option<OwnedWriteHalf> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut left: Option<(u64, usize)> = None;
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read.unwrap_or(0),
            changed = state.changed() => {
                changed.ok()?;
                let now = *state.borrow_and_update();
                match now.fault {
                    Fault::Reset | Fault::Refuse if now.setting > born => {
                        let _ = to.as_ref().set_zero_linger();
                        return Some(to);
                    }
                    _ => continue,
                }
            }
        };
        if read == 0 {
            return Some(to);
        }
        let now = *state.wait_for(|state| state.fault != Fault::BlackHole).await.ok()?;
        let mut length = read;
        match now.fault {
            Fault::Delay(time) => sleep(time).await,
            Fault::Reset | Fault::Refuse => {
                let _ = to.as_ref().set_zero_linger();
                return Some(to);
            }
            Fault::Cut(bytes) => {
                let (setting, rest) = left.unwrap_or((now.setting, bytes));
                let rest = if setting == now.setting { rest } else { bytes };
                length = read.min(rest);
                left = Some((now.setting, rest - length));
            }
            Fault::None | Fault::BlackHole => {}
        }
        to.write_all(buffer.get(..length)?).await.ok()?;
        if length < read {
            return Some(to);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::time::timeout;

    /// A server that sends everything back, behind a proxy, and a connection through that.
    async fn echo() -> (Proxy, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        let proxy = Proxy::start(address).await.unwrap();
        let stream = TcpStream::connect(proxy.address).await.unwrap();
        (proxy, stream)
    }

    async fn says(stream: &mut TcpStream, text: &str) -> Option<String> {
        stream.write_all(text.as_bytes()).await.ok()?;
        let mut buffer = vec![0; text.len()];
        stream.read_exact(&mut buffer).await.ok()?;
        String::from_utf8(buffer).ok()
    }

    #[tokio::test]
    async fn each_fault_is_what_it_says() {
        let (proxy, mut stream) = echo().await;
        assert_eq!(says(&mut stream, "hello").await.as_deref(), Some("hello"));
        proxy.set(Fault::BlackHole);
        let silent = timeout(Duration::from_millis(50), says(&mut stream, "lost?")).await;
        assert!(silent.is_err());
        proxy.set(Fault::None);
        let mut buffer = [0; 5];
        stream.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"lost?");
        proxy.set(Fault::Cut(3));
        stream.write_all(b"hello").await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"hel");
        proxy.set(Fault::Refuse);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(TcpStream::connect(proxy.address).await.is_err());
        proxy.set(Fault::None);
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(says(&mut stream, "again").await.as_deref(), Some("again"));
        proxy.set(Fault::Reset);
        assert!(stream.read(&mut [0; 1]).await.is_err());
    }
}
