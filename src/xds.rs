//! XDS.b: provide, register, query and retrieve documents.
