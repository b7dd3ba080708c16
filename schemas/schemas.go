// Package schemas embeds the contracts of the project: the migrations of the
// database, the JSON Schemas of the events with their vectors, the OpenAPI
// document of the HTTP API, and the AsyncAPI document of the bus.
package schemas

import "embed"

// SQL holds the migrations as sql/NNN_name.sql, in the order of their numbers.
//
//go:embed sql/*.sql
var SQL embed.FS

// Events holds one JSON Schema per event type as events/<type>.json, and the
// vectors in events/testdata.
//
//go:embed events
var Events embed.FS

// OpenAPI holds openapi/doorcode.yaml.
//
//go:embed openapi
var OpenAPI embed.FS

// AsyncAPI holds asyncapi.yaml: every subject on the bus, who speaks and who
// hears on it. Its references lead into events and openapi.
//
//go:embed asyncapi.yaml
var AsyncAPI []byte
