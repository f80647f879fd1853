//! A TCP proxy that fails as networks fail.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What the network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Everything passes.
    Pass,
    /// Nothing passes, nothing is lost, nobody is told.
    Freeze,
    /// What is sent vanishes, and these connections never recover: half open.
    Swallow,
    /// One byte a second, either way.
    Trickle,
    /// New connections are dropped at once.
    Refuse,
}

#[derive(Clone)]
struct Shared {
    mode: Arc<Mutex<Mode>>,
    target: Arc<Mutex<SocketAddr>>,
    sockets: Arc<Mutex<Vec<TcpStream>>>,
}

/// The proxy. Its threads end with the test's process.
pub struct Proxy {
    address: SocketAddr,
    shared: Shared,
}

impl Proxy {
    /// Starts one before a server.
    pub fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Shared {
            mode: Arc::new(Mutex::new(Mode::Pass)),
            target: Arc::new(Mutex::new(target)),
            sockets: Arc::default(),
        };
        let accepting = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                accepting.join(client);
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Behaves differently from now on.
    pub fn set(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
    }

    /// Ends all connections at once; with data still unread, the peers get a reset.
    pub fn reset(&self) {
        for socket in self.shared.sockets.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn mode(&self) -> Mode {
        *self.mode.lock().unwrap()
    }

    fn join(&self, client: TcpStream) {
        if self.mode() == Mode::Refuse {
            return;
        }
        let target = *self.target.lock().unwrap();
        let Ok(server) = TcpStream::connect(target) else { return };
        self.sockets.lock().unwrap().extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
        let ways = [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)];
        for (from, to) in ways {
            let shared = self.clone();
            thread::spawn(move || shared.pump(from, to));
        }
    }

    /// One way of one connection.
    fn pump(&self, mut from: TcpStream, mut to: TcpStream) {
        from.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut buffer = [0; 4096];
        let mut swallowed = false;
        loop {
            if self.mode() == Mode::Freeze {
                thread::sleep(Duration::from_millis(10));
                continue;
            }
            let len = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(len) => len,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                Err(_) => break,
            };
            swallowed |= self.mode() == Mode::Swallow;
            if !swallowed && self.forward(&mut to, &buffer[..len]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }

    fn forward(&self, to: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
        for (index, byte) in bytes.iter().enumerate() {
            while self.mode() == Mode::Freeze {
                thread::sleep(Duration::from_millis(10));
            }
            if self.mode() != Mode::Trickle {
                return to.write_all(&bytes[index..]);
            }
            to.write_all(&[*byte])?;
            thread::sleep(Duration::from_secs(1));
        }
        Ok(())
    }
}
