//! Tokio alone: no HTTP library, just enough of HTTP/1.1 for a fixed answer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use storm_servers::{Error, Http, RuntimeOptions, STAMP, announce, spin};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_buf, sink};
use tokio::net::TcpStream;

fn main() -> Result<(), Error> {
    let options = RuntimeOptions::parse();
    options.run(serve(options))
}

async fn serve(options: RuntimeOptions) -> Result<(), Error> {
    if options.shared.http == Http::Two {
        return Err("no HTTP library, and HTTP/1.1 is all that is spoken here".into());
    }
    let listener = options.listen().await?;
    announce(listener.local_addr()?, "tokio");

    let answers = Arc::new(Answers::new(options.shared.body_bytes));
    let work = options.shared.work();
    loop {
        // As in tokio's documentation: an error of accept(), EMFILE too, ends the server.
        let (stream, _) = listener.accept().await?;
        let accepted = options.shared.stamps.take();
        let answers = answers.clone();
        tokio::spawn(async move {
            // An error here is a client that gave up: its side of the storm counts it.
            let _ = converse(stream, accepted, &answers, work).await;
        });
    }
}

/// An answer is the head, the connection's accept stamp, and one of the two tails.
struct Answers {
    head: String,
    keeping: String,
    closing: String,
    body_bytes: usize,
}

impl Answers {
    fn new(body_bytes: usize) -> Self {
        let body = "x".repeat(body_bytes);
        Answers {
            head: format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\
                 Content-Length: {body_bytes}\r\n"
            ),
            keeping: format!("\r\n{body}"),
            closing: format!("Connection: close\r\n\r\n{body}"),
            body_bytes,
        }
    }
}

/// Answers one connection's requests, one after the other.
async fn converse(
    stream: TcpStream,
    accepted: Option<u64>,
    answers: &Answers,
    work: Duration,
) -> io::Result<()> {
    let stamp = accepted.map(|ns| format!("{STAMP}: {ns}\r\n"));
    let stamp = stamp.unwrap_or_default();
    // What a read brings beyond one request (pipelining) stays in the buffer for the next.
    let mut stream = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        head.clear();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_until(b'\n', &mut head).await? == 0 {
                return Ok(());
            }
        }
        let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let body_bytes = header(&text, "content-length").and_then(|value| value.parse().ok());
        let mut body = (&mut stream).take(body_bytes.unwrap_or(0));
        copy_buf(&mut body, &mut sink()).await?;

        spin(work);
        let closing = text.contains(" http/1.0\r\n")
            || header(&text, "connection").is_some_and(|value| value.contains("close"));
        let tail = if closing {
            &answers.closing
        } else {
            &answers.keeping
        };
        let unsent = if text.starts_with("head ") {
            answers.body_bytes
        } else {
            0
        };
        let tail = &tail[..tail.len() - unsent];
        let answer = [&answers.head, &stamp, tail].concat();
        stream.write_all(answer.as_bytes()).await?;
        if closing {
            return Ok(());
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields
        .find(|(field, _)| *field == name)
        .map(|(_, value)| value.trim())
}
