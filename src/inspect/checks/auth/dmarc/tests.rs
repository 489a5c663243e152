//! DMARC records, the tree walk and alignment (RFC 9989).


