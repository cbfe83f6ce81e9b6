//! Addresses on loopback for nodes that are about to start.

use std::{
    io::{self, Read},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
};

/// A free address on loopback, which for about a minute nobody is given who asks for any port, a connection that goes out
/// least of all; [`TcpListener::bind`] to it succeeds.
///
/// The system does not hand out a port on which a connection was closed a moment ago (`TIME_WAIT`), and lets a listener
/// have it who names it. So a connection is made to it and closed here first.
///
/// # Errors
/// When there is no free port, or no loopback.
pub fn free_address() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let mut outside = TcpStream::connect(address)?;
    let (inside, _) = listener.accept()?;
    drop(inside);
    // Who closes first is left in the state: the other one must have seen that it is closed.
    outside.read_exact(&mut [0]).expect_err("nothing was sent");
    Ok(address)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_address_is_given_twice_and_each_can_be_listened_at() {
        let addresses: Vec<_> = (0..500).map(|_| free_address().unwrap()).collect();
        assert_eq!(addresses.iter().collect::<BTreeSet<_>>().len(), addresses.len());
        let listeners: Vec<_> = addresses.iter().map(|address| TcpListener::bind(address).unwrap()).collect();
        assert_eq!(listeners.len(), addresses.len());
    }
}
