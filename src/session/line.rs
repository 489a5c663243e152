//! Bytes to lines and to message text; no bare CR or LF gets past (RFC 5321 §2.3.8).
