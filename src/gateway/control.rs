//! The control socket: length-framed JSON over a Unix socket in data_dir, owner and group only (DESIGN §5a).
