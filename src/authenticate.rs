//! Who is asking, proved by certificate, signature and token.
