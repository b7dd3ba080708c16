package sendgrid

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"doorcode/pkg/config"
	"doorcode/pkg/delivery"
	"doorcode/pkg/provider"
	"doorcode/pkg/provider/providertest"
)

// newSilent returns a client whose every connection swallows what it gets.
func newSilent(t *testing.T) *Client {
	t.Helper()
	c, err := New(Config{BaseURL: "http://sandbox", Key: config.NewSecret("k"), From: "a@example.net", Clock: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	c.http = provider.NewHTTPClient(provider.HTTPConfig{
		MaxConns: 1,
		Dial: func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			go func() {
				_, _ = io.Copy(io.Discard, there) // Ends with the connection, in whichever way.
				_ = there.Close()
			}()
			return here, nil
		},
	})
	return c
}

func TestTrap05_ASilentServerHoldsNobodyLongerThanEightSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newSilent(t)
		start := time.Now()
		_, err := c.Send(t.Context(), providertest.Sample(1))
		providertest.MustFail(t, err, delivery.Unknown, delivery.ReasonTimeout)
		if time.Since(start) != 8*time.Second {
			t.Errorf("took %s", time.Since(start))
		}
	})
}

func TestClient_NeverWorksPastTheDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newSilent(t)
		m := providertest.Sample(1)
		m.NotAfter = time.Now().Add(3 * time.Second)
		_, err := c.Send(t.Context(), m)
		providertest.MustFail(t, err, delivery.Unknown, delivery.ReasonTimeout)
		if !time.Now().Equal(m.NotAfter) {
			t.Errorf("ended %s from the deadline", time.Until(m.NotAfter))
		}
	})
}
