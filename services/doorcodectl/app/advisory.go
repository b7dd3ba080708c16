package app

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"doorcode/pkg/bus"
)

// advisory is what NATS says about a message that a consumer gave up or was ended for it.
type advisory struct {
	Type       string `json:"type"`
	Stream     string `json:"stream"`
	Consumer   string `json:"consumer"`
	Sequence   uint64 `json:"stream_seq"`
	Deliveries uint64 `json:"deliveries"`
	Reason     string `json:"reason"`
}

// listAdvisories shows the newest advisories, a line each.
func (c command) listAdvisories(ctx context.Context, args []string) error {
	set := flags("advisories list")
	last := set.Uint64("last", shown, "how many")
	_, err := parse(set, args, 0)
	if err != nil {
		return err
	}
	admin, err := c.admin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = admin.Drain(context.WithoutCancel(ctx)) }()
	messages, err := admin.List(ctx, bus.Advisories, *last)
	if err != nil {
		return err
	}
	for _, m := range messages {
		var a advisory
		if json.Unmarshal(m.Data, &a) != nil {
			a = advisory{Type: "unreadable advisory"}
		}
		kind := a.Type[strings.LastIndexByte(a.Type, '.')+1:]
		c.printf("%d  %s  %s  %s/%s at %d after %d deliveries %s\n", m.Sequence, m.Time.UTC().Format(time.RFC3339), plain(kind),
			plain(a.Stream), plain(a.Consumer), a.Sequence, a.Deliveries, plain(a.Reason))
	}
	c.printf("advisories: %d\n", len(messages))
	return nil
}
