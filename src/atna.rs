//! ATNA audit records (ITI-20): written durably before an answer leaves, in a hash chain, forwarded by syslog.
