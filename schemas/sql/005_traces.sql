-- The W3C trace context of the request that caused an event, so that the attempt at a resend is linked to it.
ALTER TABLE outbox ADD COLUMN traceparent text NOT NULL DEFAULT '';
