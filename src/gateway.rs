//! What every handler may use.
