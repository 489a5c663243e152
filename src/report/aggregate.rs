//! DMARC and TLS report contents.
