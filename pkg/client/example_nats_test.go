package client_test

import (
	"context"
	"fmt"

	"doorcode/pkg/bus"
	"doorcode/pkg/client"
)

// A login page whose server reaches doorcode over NATS. The seed was made by `doorcodectl front-end create shop`, the
// API key by `doorcodectl api-key create shop`.
func ExampleNewNATS() {
	signIn := func(ctx context.Context, apiKey, login string, typed func(client.Challenge) string) (client.Person, error) {
		conn, err := bus.Connect(ctx, bus.Config{URL: "nats://127.0.0.1:4222", Name: "shop", KeyFile: "shop.nk"})
		if err != nil {
			return client.Person{}, err
		}
		defer func() { _ = conn.Drain(context.WithoutCancel(ctx)) }()
		// The public keys of the assertions come over HTTP.
		c, err := client.NewNATS(client.Config{URL: "http://127.0.0.1:8080", Key: apiKey}, conn)
		if err != nil {
			return client.Person{}, err
		}
		challenge, err := c.Create(ctx, client.Request{Workspace: "acme", Login: login})
		if err != nil {
			return client.Person{}, err
		}
		// Nobody is let in without the Person that Check returns.
		return c.Check(ctx, challenge.Handle, typed(challenge))
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // There is no doorcode in this example.
	_, err := signIn(ctx, "dck_shop_secret", "kim", func(client.Challenge) string { return "123456" })
	fmt.Println(err != nil)
	// Output: true
}
