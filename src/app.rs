//! Builds the gateway, opens and drains listeners.
