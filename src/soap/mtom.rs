//! MTOM/XOP: multipart/related, read as bytes and written as a stream.
