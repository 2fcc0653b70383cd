//! A line to a server that breaks: connections through it are cut when so many bytes have gone by, or stand still.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// See the module. It lasts as long as the process.
pub(crate) struct Proxy {
    address: SocketAddr,
    plan: Arc<Plan>,
}

struct Plan {
    /// Bytes between two cuts.
    every: AtomicU64,
    /// Cuts that are still to come.
    left: AtomicU64,
    /// Bytes since the last one, both ways.
    passed: AtomicU64,
    cuts: AtomicU64,
    /// Bytes that may still go by.
    free: Mutex<u64>,
    freed: Condvar,
}

impl Proxy {
    /// Listens on 127.0.0.1; `to` says where to, once the port is known.
    pub(crate) fn start(to: impl FnOnce(u16) -> SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (to, plan) = (to(address.port()), Arc::new(Plan::new()));
        let of_line = plan.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(to) else { continue };
                // A line does not wait for more before it carries what it has.
                for end in [&client, &server] {
                    end.set_nodelay(true).unwrap();
                }
                for (from, into) in [(&client, &server), (&server, &client)] {
                    let (from, into) = (from.try_clone().unwrap(), into.try_clone().unwrap());
                    let plan = of_line.clone();
                    thread::spawn(move || plan.carry(from, into));
                }
            }
        });
        Self { address, plan }
    }

    /// The port, which the server has too.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Cuts so many times, each after so many bytes.
    pub(crate) fn cut(&self, times: u64, every: u64) {
        self.plan.passed.store(0, Ordering::SeqCst);
        self.plan.every.store(every, Ordering::SeqCst);
        self.plan.left.store(times, Ordering::SeqCst);
    }

    /// Lets so many bytes go by, and then none until it is told again.
    pub(crate) fn let_pass(&self, bytes: u64) {
        *self.plan.free.lock().unwrap() = bytes;
        self.plan.freed.notify_all();
    }

    /// Bytes since the last cut, or since [`Self::cut`].
    pub(crate) fn passed(&self) -> u64 {
        self.plan.passed.load(Ordering::SeqCst)
    }

    /// How often it was cut.
    pub(crate) fn cuts(&self) -> u64 {
        self.plan.cuts.load(Ordering::SeqCst)
    }
}

impl Plan {
    fn new() -> Self {
        let (every, left, passed, cuts) = Default::default();
        Self { every, left, passed, cuts, free: Mutex::new(u64::MAX), freed: Condvar::new() }
    }

    /// Waits until something may go by.
    fn wait(&self, count: u64) {
        let mut free = self.freed.wait_while(self.free.lock().unwrap(), |free| *free == 0).unwrap();
        *free = free.saturating_sub(count);
    }

    fn carry(&self, mut from: TcpStream, mut into: TcpStream) {
        let mut piece = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut piece) {
            self.wait(count as u64);
            if self.is_over(count as u64) || into.write_all(&piece[..count]).is_err() {
                break;
            }
        }
        // Both ends and both ways, in the middle of whatever was being said.
        let _ = from.shutdown(Shutdown::Both);
        let _ = into.shutdown(Shutdown::Both);
    }

    fn is_over(&self, count: u64) -> bool {
        let passed = self.passed.fetch_add(count, Ordering::SeqCst) + count;
        if passed < self.every.load(Ordering::SeqCst) {
            return false;
        }
        let cut = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if cut {
            self.passed.store(0, Ordering::SeqCst);
            self.cuts.fetch_add(1, Ordering::SeqCst);
        }
        cut
    }
}
