// Package deploy embeds the files of this folder that a process needs at run time, so that a binary alone
// can set up what it uses. It holds no code beyond that.
package deploy

import _ "embed" // Embedding needs the package to be linked.

//go:embed nats/nats.conf
var natsConf string

//go:embed nats/nats-tls.conf
var natsTLSConf string

// NATSConf returns nats/nats.conf: accounts, users and permissions of the bus. It includes two files that must
// lie beside it, `nkeys.conf` and `front-ends.conf`; bus.WriteKeys writes them all.
func NATSConf() string {
	return natsConf
}

// NATSTLSConf returns nats/nats-tls.conf, which includes nats.conf and adds TLS for a server in a container.
func NATSTLSConf() string {
	return natsTLSConf
}
