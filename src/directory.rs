//! Partners: who they are, where they answer, what is particular about them.
