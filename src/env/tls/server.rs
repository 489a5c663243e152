//! TLS as a server: certificates, protocol floor, what was negotiated.
