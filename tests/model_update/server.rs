//! A web server with one file: it knows ranges and ETags, and breaks off when it is told to.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What the server does with the next requests.
#[derive(Clone)]
pub struct Offer {
    pub status: u16,
    pub bytes: Vec<u8>,
    pub etag: Option<String>,
    /// Bytes after which it breaks off, for each request in turn; those after the last are answered whole.
    pub breaks: Vec<usize>,
    /// Whether it knows ranges.
    pub ranges: bool,
}

impl Offer {
    pub fn of(bytes: &[u8]) -> Self {
        Self { status: 200, bytes: bytes.into(), etag: Some("\"v1\"".into()), breaks: vec![], ranges: true }
    }
}

/// The server. Its threads end with the test's process.
pub struct Server {
    pub url: String,
    pub offer: Arc<Mutex<Offer>>,
    requests: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Server {
    pub fn start(offer: Offer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/b.zalb", listener.local_addr().unwrap());
        let offer = Arc::new(Mutex::new(offer));
        let requests: Arc<Mutex<Vec<Vec<String>>>> = Arc::default();
        let (offers, heard) = (Arc::clone(&offer), Arc::clone(&requests));
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                // A client that breaks off is not the server's concern.
                let _ = serve(socket, &offers, &heard);
            }
        });
        Self { url, offer, requests }
    }

    /// The value of a header in each request so far, empty where it was not sent.
    pub fn header(&self, name: &str) -> Vec<String> {
        let value = |request: &Vec<String>| {
            let line = request.iter().find(|line| line.to_lowercase().starts_with(&format!("{name}:")));
            line.and_then(|line| line.split_once(':')).map(|(_, v)| v.trim().to_owned()).unwrap_or_default()
        };
        self.requests.lock().unwrap().iter().map(value).collect()
    }
}

fn serve(
    mut socket: TcpStream,
    offers: &Mutex<Offer>,
    heard: &Mutex<Vec<Vec<String>>>,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    for line in BufReader::new(socket.try_clone()?).lines() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        request.push(line);
    }
    let header = |name: &str| {
        let line = request.iter().find(|line| line.to_lowercase().starts_with(&format!("{name}:")));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let (range, condition) = (header("range"), header("if-range"));
    let (offer, cut) = {
        let mut offer = offers.lock().unwrap();
        let cut = if offer.breaks.is_empty() { None } else { Some(offer.breaks.remove(0)) };
        (offer.clone(), cut)
    };
    heard.lock().unwrap().push(request);
    let size = offer.bytes.len();
    let start =
        range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let start = start.filter(|_| offer.ranges && condition == offer.etag);
    let tag = offer.etag.as_ref().map_or_else(String::new, |tag| format!("ETag: {tag}\r\n"));
    let (head, body) = match start {
        _ if offer.status != 200 => {
            (format!("HTTP/1.1 {} No\r\nContent-Length: 0\r\n", offer.status), &[][..])
        }
        Some(start) if start >= size => {
            (format!("HTTP/1.1 416 No\r\nContent-Range: bytes */{size}\r\nContent-Length: 0\r\n"), &[][..])
        }
        Some(start) => {
            let range = format!("Content-Range: bytes {start}-{}/{size}\r\n", size - 1);
            let length = size - start;
            (format!("HTTP/1.1 206 Part\r\n{range}Content-Length: {length}\r\n{tag}"), &offer.bytes[start..])
        }
        None => (format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n{tag}"), &offer.bytes[..]),
    };
    socket.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())?;
    socket.write_all(&body[..cut.unwrap_or(body.len()).min(body.len())])
}
