//! SAML 2.0 assertions: XUA (ITI-40) and the NHIN Authorization Framework.
