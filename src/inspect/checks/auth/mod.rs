//! SPF, DKIM, ARC, DMARC and reverse DNS over mail-auth.
