//! Connections against the clock and against each other.

use std::time::Duration;

use ringfence_server::{
    routes::gate::Times,
    serve::{Drained, Limits},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::world::{PATIENCE, Plan, SHORT, Site, receive, send, until_closed};

fn plan(limits: Limits) -> Plan {
    Plan { limits, ..Plan::default() }
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_cut() {
    let site = Site::start(plan(Limits { handshake_max: SHORT, ..Limits::default() })).await;
    let mut silent = TcpStream::connect(site.address).await.unwrap();
    assert_eq!(until_closed(&mut silent).await, b"");
    let mut garbage = TcpStream::connect(site.address).await.unwrap();
    garbage.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    // A TLS alert at most.
    assert!(until_closed(&mut garbage).await.len() < 16);
}

#[tokio::test]
async fn a_head_that_dribbles_is_cut_whatever_its_rhythm() {
    let site = Site::start(plan(Limits { head_max: SHORT, ..Limits::default() })).await;
    let mut stream = site.connect().await;
    let dribbling = async {
        let mut read = [0; 1];
        loop {
            if stream.write_all(b"x").await.is_err() || stream.flush().await.is_err() {
                return;
            }
            // Between two bytes, look whether the server has had enough.
            match timeout(SHORT / 20, stream.read(&mut read)).await {
                Ok(Ok(0) | Err(_)) => return,
                Ok(Ok(_)) => panic!("an answer to half a line"),
                Err(_) => {}
            }
        }
    };
    timeout(PATIENCE, dribbling).await.expect("the server closes");
}

#[tokio::test]
async fn silence_between_requests_ends_the_connection() {
    let site = Site::start(plan(Limits { idle_max: SHORT, ..Limits::default() })).await;
    let mut stream = site.connect().await;
    let head = format!("GET /open HTTP/1.1\r\nHost: localhost:{}\r\n\r\n", site.address.port());
    for _ in 0..3 {
        assert_eq!(send(&mut stream, head.as_bytes()).await.unwrap().status, 200);
    }
    assert_eq!(until_closed(&mut stream).await, b"");
}

#[tokio::test]
async fn an_answer_that_nobody_reads_ends_the_connection() {
    let limits = Limits { write_stall_max: SHORT, connections_max: 1, ..Limits::default() };
    let site = Site::start(plan(limits)).await;
    let mut stream = site.connect().await;
    // Requests without end, and not one answer read: both directions fill up.
    let head = format!("GET /open HTTP/1.1\r\nHost: localhost:{}\r\n\r\n", site.address.port()).repeat(200);
    let writing = async { while stream.write_all(head.as_bytes()).await.is_ok() {} };
    timeout(PATIENCE, writing).await.expect("the server closes");
    assert_eq!(site.ask("GET /open HTTP/1.1", b"").await.status, 200, "and the place is free again");
}

#[tokio::test]
async fn an_address_has_so_many_connections_and_no_more() {
    let site = Site::start(plan(Limits { per_address_max: 2, ..Limits::default() })).await;
    let (first, _second) = (site.connect().await, site.connect().await);
    assert!(site.connect_as(site.trusting().with_no_client_auth()).await.is_err());
    drop(first);
    // The place is free once the server has noticed.
    let again = async { while site.connect_as(site.trusting().with_no_client_auth()).await.is_err() {} };
    timeout(PATIENCE, again).await.expect("a place");
}

#[tokio::test]
async fn all_together_have_so_many_connections_and_the_rest_waits() {
    let site = Site::start(plan(Limits { connections_max: 1, ..Limits::default() })).await;
    let first = site.connect().await;
    let waiting = site.connect_as(site.trusting().with_no_client_auth());
    tokio::pin!(waiting);
    assert!(timeout(SHORT, &mut waiting).await.is_err(), "nobody answers yet");
    drop(first);
    assert!(timeout(PATIENCE, waiting).await.unwrap().is_ok());
}

#[tokio::test]
async fn a_body_that_stands_still_or_takes_too_long_is_a_408_or_400() {
    let times = Times { request_max: Duration::from_secs(10), body_stall_max: SHORT };
    let site = Site::start(Plan { times, ..Plan::default() }).await;
    let head = "PUT /upload HTTP/1.1\r\nAuthorization: Bearer good\r\nContent-Length: 100000";
    let reply = site.ask(head, b"only this").await;
    assert_eq!((reply.status, reply.problem().as_str()), (400, "malformed"));
    let times = Times { request_max: SHORT, body_stall_max: Duration::from_secs(10) };
    let site = Site::start(Plan { times, ..Plan::default() }).await;
    let head =
        "POST /things HTTP/1.1\r\nAuthorization: Bearer good\r\nContent-Type: application/json\r\nContent-Length: 20";
    let reply = site.ask(head, b"{").await;
    assert_eq!((reply.status, reply.problem().as_str()), (408, "too-slow"));
    let reply = site.ask("GET /slow HTTP/1.1", b"").await;
    assert_eq!((reply.status, reply.problem().as_str()), (503, "unavailable"), "our own slowness is not theirs");
}

#[tokio::test]
async fn a_refusal_before_the_body_has_come_does_not_cost_the_connection() {
    let site = Site::start(Plan::default()).await;
    let mut stream = site.connect().await;
    let host = format!("Host: localhost:{}\r\n", site.address.port());
    for _ in 0..3 {
        let head = format!("PUT /upload HTTP/1.1\r\n{host}Content-Length: 100000\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let reply = send(&mut stream, &vec![b'x'; 100_000]).await.unwrap();
        assert_eq!((reply.status, reply.headers.get("connection")), (403, None));
    }
    let head = format!("GET /open HTTP/1.1\r\n{host}\r\n");
    assert_eq!(send(&mut stream, head.as_bytes()).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_refusal_of_more_than_anybody_reads_is_told_and_ends_in_good_order() {
    let site = Site::start(Plan::default()).await;
    for more in ["Content-Length: 1000000", "Content-Length: 1000\r\nExpect: 100-continue"] {
        let mut stream = site.connect().await;
        let head = format!("PUT /upload HTTP/1.1\r\nHost: localhost:{}\r\n{more}\r\n\r\n", site.address.port());
        let reply = send(&mut stream, head.as_bytes()).await.unwrap();
        assert_eq!((reply.status, reply.headers["connection"].as_str()), (403, "close"));
        // Who goes on sending is not cut off in the middle.
        stream.write_all(&[b'x'; 1_000]).await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(until_closed(&mut stream).await, b"");
    }
}

#[tokio::test]
async fn a_stop_lets_the_running_request_finish_and_nothing_else() {
    let site = Site::start(Plan::default()).await;
    let mut idle = site.connect().await;
    let mut stream = site.connect().await;
    let head = format!("GET /slow HTTP/1.1\r\nHost: localhost:{}\r\n\r\n", site.address.port());
    stream.write_all(head.as_bytes()).await.unwrap();
    let app = site.app.clone();
    app.held.acquire().await.unwrap().forget();
    let address = site.address;
    let stopping = tokio::spawn(site.finish());
    assert_eq!(until_closed(&mut idle).await, b"", "who asks nothing is let go");
    assert!(!stopping.is_finished());
    // The socket is closed before anything is waited for.
    timeout(PATIENCE, async { while TcpStream::connect(address).await.is_ok() {} }).await.expect("nobody listens");
    app.release.add_permits(1);
    let reply = receive(&mut stream, false).await.unwrap();
    assert_eq!((reply.status, reply.body.as_str()), (200, "done"));
    assert_eq!(stopping.await.unwrap(), Drained::Whole);
}

#[tokio::test]
async fn a_stop_has_an_end() {
    let site = Site::start(plan(Limits { drain_max: SHORT, ..Limits::default() })).await;
    let mut stream = site.connect().await;
    let head = format!("GET /slow HTTP/1.1\r\nHost: localhost:{}\r\n\r\n", site.address.port());
    stream.write_all(head.as_bytes()).await.unwrap();
    site.app.held.acquire().await.unwrap().forget();
    assert_eq!(site.finish().await, Drained::Cut(1));
}

#[tokio::test]
async fn a_panic_is_one_answer_without_detail_and_counted() {
    let site = Site::start(Plan::default()).await;
    let reply = site.ask("GET /panic HTTP/1.1", b"").await;
    assert_eq!((reply.status, reply.problem().as_str()), (500, "internal"));
    assert!(!reply.body.contains("hunter2"));
    assert_eq!(site.service.counters().panics(), 1);
    assert_eq!(site.ask("GET /open HTTP/1.1", b"").await.status, 200);
}
