//! XCA: query and retrieve documents across communities.
