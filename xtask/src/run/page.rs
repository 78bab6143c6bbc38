//! Fetches the page that the child serves.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};

/// For one attempt; a connection made before the child listens may never be answered.
const PATIENCE: Duration = Duration::from_secs(5);

/// A loopback port that nobody uses at this moment.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("there is no free port")?;
    Ok(listener.local_addr()?.port())
}

/// Tries again and again on a thread of its own until a page comes.
#[derive(Debug)]
pub struct Fetcher {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    body: Mutex<Option<String>>,
    stop: AtomicBool,
}

impl Fetcher {
    /// Starts to try.
    pub fn start(port: u16) -> Self {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || {
            while !theirs.stop.load(Ordering::Relaxed) {
                if let Some(body) = fetch(port) {
                    *theirs.body.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
                    return;
                }
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        Self { shared }
    }

    /// The page, once it has come.
    pub fn body(&self) -> Option<String> {
        self.shared
            .body
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

fn fetch(port: u16) -> Option<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(
        stream,
        "GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut answer = Vec::new();
    // A page that was cut is no page; what came before the cut is judged all the same.
    let _ = stream.take(1 << 20).read_to_end(&mut answer);
    body_of(&String::from_utf8_lossy(&answer))
}

/// The body of a complete answer with status 200.
fn body_of(answer: &str) -> Option<String> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut words = head.lines().next()?.split(' ');
    let version = words.next()?;
    let good = version.starts_with("HTTP/1.") && words.next() == Some("200");
    let length = head.lines().skip(1).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    let whole = length.is_none_or(|length| body.len() >= length);
    (good && whole).then(|| body.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_good_answer_counts() {
        assert_eq!(
            body_of("HTTP/1.1 200 OK\r\nX: y\r\n\r\nhello").as_deref(),
            Some("hello")
        );
        assert_eq!(
            body_of("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello").as_deref(),
            Some("hello")
        );
        assert_eq!(
            body_of("HTTP/1.0 200 OK\r\ncontent-length: 6\r\n\r\nhello"),
            None
        );
        assert_eq!(body_of("HTTP/1.1 404 Not Found\r\n\r\nhello"), None);
        assert_eq!(body_of("HTTP/1.1 200 OK\r\n"), None);
        assert_eq!(body_of(""), None);
    }

    #[test]
    fn a_page_is_fetched() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let fetcher = Fetcher::start(port);
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nnonce").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let body = (0..200).find_map(|_| {
            std::thread::sleep(Duration::from_millis(10));
            fetcher.body()
        });
        assert_eq!(body.as_deref(), Some("nonce"));
    }
}
