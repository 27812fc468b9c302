//! The WS-Security header: what stands in it, and who must understand it.
