//! Plain HTTP at the door of HTTPS: a TLS greeting begins with one certain byte, and who sends another is told what to write.

use super::socket::ClientSocket;
use std::io;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// First byte of every TLS connection: a handshake record.
const TLS_HANDSHAKE: u8 = 0x16;
const SAID: &str = "{\"error\":{\"class\":\"misuse\",\"what\":\"this is plain HTTP, and the box speaks HTTPS only\",\
    \"next\":\"write https:// in front of its name\"}}\n";

/// Whether the peer begins with something else than TLS. Waits for its first byte, which stays to be read.
pub async fn knocks(socket: &TcpStream) -> io::Result<bool> {
    let mut first = [0; 1];
    let count = socket.peek(&mut first).await?;
    // Only letters, as methods have: what is neither HTTP nor TLS gets no answer.
    Ok(count == 1 && first[0] != TLS_HANDSHAKE && first[0].is_ascii_uppercase())
}

/// Answers 400 and closes. Nothing of the request is read but thrown away.
pub async fn turn_away(mut socket: ClientSocket) -> io::Result<()> {
    let head = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\n";
    let answer = format!("{head}Content-Length: {}\r\n\r\n{SAID}", SAID.len());
    socket.write_all(answer.as_bytes()).await?;
    socket.shutdown().await
}
