//! What the integration tests share: gateways started in-process, test certificates, peers found on the machine.
