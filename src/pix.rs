//! PIX: patient identity feeds, and the manager of the cross-reference.
