//! What a user's own localhost costs each connection, datagram and byte: one program, run by turns
//! in the session of a user who has one and of a user who has the machine's.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use cgsandbox_rig::{Host, Session};

use crate::stack::PROGRAM;
use crate::statistics::percentile;

/// How often each of the two has its turn.
const ROUNDS: usize = 31;

/// Of one turn.
const CONNECTIONS: u32 = 1500;
const ROUND_TRIPS: u32 = 4000;
const MEGABYTES: usize = 256;

/// What is measured, and which part of the machine's localhost is to be reached.
const FIGURES: [(&str, &str, f64); 3] = [
    ("tcp", "localhost: connect and accept >= 0.97", 0.97),
    ("udp", "localhost: datagrams to and fro >= 0.97", 0.97),
    ("bytes", "localhost: throughput >= 0.99", 0.99),
];

/// How fast the own localhost is, relative to the machine's.
pub struct Ratio {
    pub figure: &'static str,
    pub at_least: f64,
    pub ratio: f64,
}

/// Measures in a session of `own` and one of `shared`, by turns.
pub fn compare(host: &Host, own: &str, shared: &str) -> Vec<Ratio> {
    let mut sessions = [host.spawn_session(own), host.spawn_session(shared)];
    let measure = |(kind, figure, at_least): (&str, &'static str, f64)| {
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..ROUNDS {
            // Who is first has it no better in the end.
            for at in [round % 2, (round + 1) % 2] {
                times[at].push(turn(&mut sessions[at], kind));
            }
        }
        let [own, shared] = times.map(|times| percentile(times, 50).as_secs_f64());
        Ratio { figure, at_least, ratio: shared / own }
    };
    FIGURES.map(measure).into()
}

fn turn(session: &mut Session<'_>, kind: &str) -> Duration {
    let said = session.sh_within(&format!("{PROGRAM} localhost {kind}"), 60.0);
    Duration::from_nanos(said.parse().unwrap_or_else(|_| panic!("{kind}: {said}")))
}

/// One turn, inside a session; prints its nanoseconds.
pub fn work(kind: &str) {
    let took = match kind {
        "tcp" => connections(),
        "udp" => round_trips(),
        "bytes" => bytes(),
        _ => panic!("nothing is called {kind}"),
    };
    println!("{}", took.as_nanos());
}

fn connections() -> Duration {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let start = Instant::now();
    for _ in 0..CONNECTIONS {
        let client = TcpStream::connect(address).unwrap();
        let (server, _) = listener.accept().unwrap();
        drop((client, server));
    }
    start.elapsed()
}

fn round_trips() -> Duration {
    let [one, two] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    let there = two.local_addr().unwrap();
    let mut buffer = [0; 64];
    let start = Instant::now();
    for _ in 0..ROUND_TRIPS {
        one.send_to(b"ping", there).unwrap();
        let (_, back) = two.recv_from(&mut buffer).unwrap();
        two.send_to(b"pong", back).unwrap();
        one.recv_from(&mut buffer).unwrap();
    }
    start.elapsed()
}

fn bytes() -> Duration {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let reader = std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        let mut left = MEGABYTES << 20;
        while left > 0 {
            left -= server.read(&mut buffer).unwrap();
        }
    });
    let chunk = vec![0; 1 << 16];
    let start = Instant::now();
    for _ in 0..MEGABYTES << 4 {
        client.write_all(&chunk).unwrap();
    }
    reader.join().unwrap();
    start.elapsed()
}
