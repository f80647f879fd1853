//! Bundles over HTTP and HTTPS: broken off, gone on with, changed on the way.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::bundles::light;
use super::certificates::Certificates;
use super::device::Device;
use super::running::wait_for;
use super::server::{Offer, Server};

#[test]
fn a_download_that_breaks_off_goes_on_where_it_stopped() {
    let bundle = light().version("1.1").release();
    let (first, second) = (bundle.len() / 3, bundle.len() / 4);
    let server = Server::start(Offer { breaks: vec![first, second], ..Offer::of(&bundle) });
    let device = Device::new("mqtt://127.0.0.1:1", "");
    let said = device.model(&["install", &server.url]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(device.current(), "light-1.1");
    let ranges = server.header("range");
    assert_eq!(ranges, ["".into(), format!("bytes={first}-"), format!("bytes={}-", first + second)]);
    assert_eq!(server.header("if-range")[1..], ["\"v1\"", "\"v1\""]);
    assert_eq!(device.whole_slots(), 2);
}

#[test]
fn what_an_earlier_command_got_is_used_unless_the_server_has_another_version() {
    let (old, new) = (light().version("1.1").release(), light().version("1.2").release());
    let third = old.len() / 3;
    let device = Device::new("mqtt://127.0.0.1:1", "");
    // Nothing but broken tries: the command gives up and keeps what it has.
    let server = Server::start(Offer { breaks: [vec![third], vec![0; 20]].concat(), ..Offer::of(&old) });
    let said = device.model(&["install", &server.url]);
    assert_eq!(said.code, Some(69), "{said:?}");
    assert!(said.err.contains(&format!("{third} bytes are kept")), "{said:?}");
    assert_eq!(device.state(), "idle");
    // The server has another version by now.
    let changed = Offer { etag: Some("\"v2\"".into()), ..Offer::of(&new) };
    *server.offer.lock().unwrap() = changed;
    let said = device.model(&["install", &server.url]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(device.current(), "light-1.2");
    assert_eq!(
        server.header("range").last().unwrap(),
        &format!("bytes={third}-"),
        "it was asked for the rest"
    );
}

#[test]
fn a_killed_download_is_gone_on_with() {
    let bundle = light().version("1.1").release();
    let half = bundle.len() / 2;
    let device = Device::new("mqtt://127.0.0.1:1", "");
    // Half of the file again and again without an end would bring it all, so the server stalls by breaking.
    let server = Server::start(Offer { breaks: [vec![half], vec![0; 20]].concat(), ..Offer::of(&bundle) });
    let mut child = device.start_model(&["install", &server.url]);
    assert!(wait_for(|| server.header("range").len() > 1), "the second try");
    child.kill().unwrap();
    child.wait().unwrap();
    server.offer.lock().unwrap().breaks.clear();
    let said = device.model(&["install", &server.url]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(server.header("range").last().unwrap(), &format!("bytes={half}-"));
    assert_eq!(device.current(), "light-1.1");
}

#[test]
fn a_server_that_refuses_or_knows_no_ranges_is_understood() {
    let bundle = light().version("1.1").release();
    let device = Device::new("mqtt://127.0.0.1:1", "");
    let server = Server::start(Offer { status: 404, ..Offer::of(&bundle) });
    for (status, code) in [(404, 66), (403, 77), (400, 69), (503, 69)] {
        server.offer.lock().unwrap().status = status;
        let said = device.model(&["install", &server.url]);
        assert_eq!(said.code, Some(code), "{status}: {said:?}");
        assert!(said.err.contains(&status.to_string()), "{said:?}");
    }
    let said = device.model(&["install", "http://127.0.0.1:1/b.zalb"]);
    assert_eq!(said.code, Some(69), "nobody listens: {said:?}");
    assert!(said.err.contains("cannot download") && said.err.contains("check network"), "{said:?}");
    // Neither ranges nor a tag: begun anew every time, and still whole.
    *server.offer.lock().unwrap() =
        Offer { ranges: false, etag: None, breaks: vec![bundle.len() / 2], ..Offer::of(&bundle) };
    let said = device.model(&["install", &server.url]);
    assert_eq!(said.code, Some(0), "{said:?}");
}

#[test]
fn https_is_taken_from_a_server_whose_authority_is_known() {
    let Some(certificates) = Certificates::new() else { return };
    certificates.issue("server", "ca", "localhost", "DNS:localhost,IP:127.0.0.1", 30);
    let device = Device::new("mqtt://127.0.0.1:1", "ca_file = \"ca.pem\"");
    certificates.copy_to(&device.line.path(""));
    device.stick("b.zalb", &light().version("1.1").release());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = Command::new("openssl")
        .args(["s_server", "-WWW", "-quiet", "-accept", &port.to_string()])
        .args(["-cert", "server.pem", "-key", "server.key"])
        .current_dir(device.line.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    assert!(wait_for(|| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()));
    std::thread::sleep(Duration::from_millis(100));
    let url = format!("https://localhost:{port}/b.zalb");
    let taken = device.model(&["install", &url]);
    certificates.authority("stranger");
    std::fs::copy(certificates.path("stranger.pem"), device.line.path("ca.pem")).unwrap();
    device.model(&["confirm"]);
    let refused = device.model(&["install", &url]);
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(taken.code, Some(0), "{taken:?}");
    assert_eq!(refused.code, Some(69), "{refused:?}");
    assert!(refused.err.contains("UnknownIssuer") || refused.err.contains("certificate"), "{refused:?}");
}
