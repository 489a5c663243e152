//! A list of networks of the configuration, parsed once.

use std::net::IpAddr;

use crate::mail::Network;
use crate::mail::network::NetworkError;

/// A list of networks; empty contains nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Networks(Vec<Network>);

impl Networks {
    /// All of them, or every text that is none.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a String>) -> Result<Self, Vec<NetworkError>> {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for text in texts {
            match text.parse() {
                Ok(network) => good.push(network),
                Err(error) => bad.push(error),
            }
        }
        if bad.is_empty() { Ok(Self(good)) } else { Err(bad) }
    }
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
    pub fn iter(&self) -> impl Iterator<Item = &Network> {
        self.0.iter()
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Network> for Networks {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        Self(networks.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_that_is_no_network_is_told() {
        let texts = ["10.0.0.0/8", "x", "203.0.113.0/33"].map(str::to_owned);
        assert_eq!(Networks::parse(&texts).unwrap_err().len(), 2);
        let good = Networks::parse(&texts[..1]).unwrap();
        assert!(good.contains("::ffff:10.9.9.9".parse().unwrap()) && !good.contains("11.0.0.1".parse().unwrap()));
        assert!(!Networks::default().contains("10.0.0.1".parse().unwrap()));
    }
}
