-- What auth tells those who share a mailbox when one of them has used a code. Nothing by which a code goes anywhere.
GRANT SELECT (purpose, support_reference, agent) ON challenges TO doorcode_auth;
