package archtest_test

import (
	"slices"

	"doorcode/pkg/archtest"
)

// Modules of others that more than one row names.
const (
	jwt        = "github.com/golang-jwt/jwt/v5"
	pgx        = "github.com/jackc/pgx/v5"
	prometheus = "github.com/prometheus/client_golang/prometheus"
	rate       = "golang.org/x/time/rate"
	group      = "golang.org/x/sync"
	otel       = "go.opentelemetry.io/otel"
)

// domain lists what every use case may know: facts and rules without a clock or a driver.
func domain() []string {
	return []string{
		"pkg/account", "pkg/auditlog", "pkg/challenge", "pkg/delivery", "pkg/event", "pkg/frontend", "pkg/gsm7", "pkg/health", "pkg/keyring",
		"pkg/operator", "pkg/otp", "pkg/rollout", "pkg/seal",
		"pkg/story",
	}
}

// rows is the import table, in the order of the layers: domain, formats, foundation, adapters, use cases, processes.
func rows() []archtest.Row {
	return slices.Concat(domainRows(), foundationRows(), adapterRows(), browserRows(), serviceRows())
}

func domainRows() []archtest.Row {
	const pure = "the domain is the standard library and, below it, the key ring: no clock, no driver, no format of others"
	return []archtest.Row{
		{Package: "pkg/account", Reason: pure},
		{
			Package: "pkg/auditlog", Others: []string{"golang.org/x/mod/sumdb/tlog"},
			Reason: "a seal is arithmetic over rows; the tree is a library's, which is as pure",
		},
		{Package: "pkg/delivery", Reason: pure},
		{Package: "pkg/rollout", Reason: pure},
		{Package: "pkg/gsm7", Reason: pure},
		{Package: "pkg/keyring", Reason: pure},
		{Package: "pkg/health", Ours: []string{"pkg/delivery"}, Reason: pure},
		{Package: "pkg/challenge", Ours: []string{"pkg/keyring"}, Reason: pure},
		{Package: "pkg/otp", Ours: []string{"pkg/keyring"}, Reason: pure},
		{Package: "pkg/seal", Ours: []string{"pkg/keyring"}, Reason: pure},
		{Package: "pkg/frontend", Ours: []string{"pkg/keyring"}, Reason: pure},
		{Package: "pkg/operator", Ours: []string{"pkg/keyring"}, Reason: pure},
		{
			Package: "pkg/event", Ours: domain(),
			Reason: "events are facts of the domain in JSON; how they travel is the bus's matter",
		},
		{
			Package: "pkg/story", Ours: domain(),
			Reason: "a story is told from the record alone; who reads the record and who prints the story are others",
		},
		{
			Package: "pkg/event/eventtest", Ours: slices.Concat(domain(), []string{"schemas"}),
			Others: []string{"github.com/santhosh-tekuri/jsonschema/v6"},
			Reason: "it judges events by their schemas",
		},
		{
			Package: "pkg/limit", Ours: domain(), Others: []string{rate},
			Reason: "a limit is arithmetic; the database that keeps it imports it",
		},
		{
			Package: "pkg/assertion", Ours: domain(), Others: []string{jwt},
			Reason: "an assertion is a signed fact of the domain",
		},
		{
			Package: "pkg/phone", Others: []string{"github.com/nyaruka/phonenumbers"},
			Reason: "a number is judged by the numbering plans alone, wherever it comes from",
		},
		{
			Package: "pkg/mask", Ours: []string{"pkg/account", "pkg/phone"},
			Reason: "what looks like an address is hidden in one way wherever a record is shown",
		},
		{
			Package: "pkg/message", Ours: domain(),
			Reason: "words are rendered from facts; who sends them is the provider's matter",
		},
		{
			Package: "pkg/message/previews", Ours: slices.Concat(domain(), []string{"pkg/message"}),
			Reason: "it writes every message into files for people to look at",
		},
	}
}

func foundationRows() []archtest.Row {
	const small = "the foundation knows nothing of codes, so that it can stay small"
	return []archtest.Row{
		{Package: "schemas", Reason: "it embeds files"},
		{Package: "deploy", Reason: "it embeds files"},
		{Package: "pkg/config", Others: []string{"github.com/caarlos0/env/v11"}, Reason: small},
		{Package: "pkg/certificate", Reason: "certificates are made by the standard library alone; where they lie is doorcodectl's matter"},
		{Package: "pkg/tracing", Others: []string{otel}, Reason: small},
		{Package: "pkg/telemetry", Ours: []string{"pkg/tracing"}, Others: []string{prometheus, otel}, Reason: small},
		{Package: "pkg/problem", Reason: small},
		{Package: "pkg/style", Reason: "a style sheet is a file; whose pages it is for is their matter"},
		{Package: "pkg/faultpoint", Reason: "a released process has no trace of it, and with its tag it knows signals alone"},
		{Package: "pkg/strictjson", Ours: []string{"pkg/problem"}, Reason: small},
		{Package: "pkg/httpserver", Ours: []string{"pkg/problem", "pkg/tracing"}, Others: []string{prometheus, otel}, Reason: small},
		{
			Package: "pkg/lifecycle", Ours: []string{"pkg/config", "pkg/httpserver", "pkg/telemetry"},
			Others: []string{group}, Reason: small,
		},
		{Package: "pkg/freeport", Reason: "a port is found by binding it; who listens is the caller's matter"},
		{Package: "pkg/batch", Reason: "how calls wait together is a matter of channels and mutexes alone; what they ask is their caller's"},
		{Package: "pkg/archtest", Reason: "it judges the tree from outside"},
		{Package: "pkg/archtest/figures", Ours: []string{"pkg/archtest"}, Reason: "it prints what archtest measures"},
		{
			Package: "pkg/archtest/security", Ours: []string{"pkg/archtest"}, Others: []string{"go.yaml.in/yaml/v4"},
			Reason: "it writes a page about our tests",
		},
	}
}

func adapterRows() []archtest.Row {
	const (
		bus      = "the bus carries messages and does not know what they mean"
		postgres = "the adapter of the database knows the domain, and no other adapter"
		provider = "an adapter knows the contract and its own SDK, never another adapter"
	)
	storage := []string{"pkg/batch", "pkg/config", "pkg/faultpoint", "pkg/limit", "pkg/tracing", "schemas"}
	providing := []string{"pkg/config", "pkg/delivery", "pkg/provider"}
	return []archtest.Row{
		{Package: "pkg/bus", Ours: []string{"deploy", "pkg/tracing"}, Others: []string{"github.com/nats-io", otel}, Reason: bus},
		{Package: "pkg/bus/embedded", Others: []string{"github.com/nats-io"}, Reason: bus},
		{
			Package: "pkg/bus/bustest", Ours: []string{"deploy", "pkg/bus", "pkg/bus/embedded", "pkg/freeport"},
			Others: []string{"github.com/nats-io"}, Reason: bus,
		},
		{
			Package: "pkg/postgres", Ours: slices.Concat(domain(), storage),
			Others: []string{pgx, "github.com/jackc/tern/v2", group, otel}, Reason: postgres,
		},
		{
			Package: "pkg/postgres/local", Ours: []string{"pkg/config", "pkg/freeport"}, Others: []string{pgx, "golang.org/x/sys"},
			Reason: "a cluster is programs and folders; what lies in it is not its matter",
		},
		{
			Package: "pkg/postgres/pgtest", Ours: []string{"pkg/config", "pkg/postgres", "pkg/postgres/local", "schemas"},
			Others: []string{pgx, "go.uber.org/goleak"}, Reason: postgres,
		},
		{
			Package: "pkg/postgres/pgtest/cluster", Ours: []string{"pkg/postgres/local", "pkg/postgres/pgtest"},
			Reason: "it runs a command beside a cluster",
		},
		{
			Package: "pkg/provider", Ours: []string{"pkg/config", "pkg/delivery"},
			Others: []string{"github.com/sony/gobreaker/v2", rate}, Reason: provider,
		},
		{
			Package: "pkg/provider/sendgrid", Ours: providing,
			Others: []string{"github.com/sendgrid", rate}, Reason: provider,
		},
		{
			Package: "pkg/provider/vonage", Ours: slices.Concat(providing, []string{"pkg/gsm7", "pkg/phone"}),
			Others: []string{"github.com/vonage"}, Reason: provider,
		},
		{
			Package: "pkg/provider/providertest", Ours: slices.Concat(providing, []string{"pkg/provider/sandbox"}),
			Others: []string{"github.com/google/go-cmp"}, Reason: provider,
		},
		{
			Package: "pkg/provider/sandbox", Ours: []string{"pkg/config", "pkg/delivery", "pkg/gsm7", "pkg/problem", "pkg/strictjson"},
			Reason: "the sandbox stands in for a company: it signs and refuses on its own and knows no adapter; the alphabet of text messages is one table, proved by the vectors of providers.md 4.5",
		},
		{
			Package: "pkg/dispatch", Ours: slices.Concat(domain(), []string{"pkg/bus", "pkg/faultpoint", "pkg/message", "pkg/provider", "pkg/telemetry", "pkg/tracing"}),
			Others: []string{prometheus, "github.com/sony/gobreaker/v2", rate, group, otel},
			Reason: "dispatchers have no database, and any provider is handed to them",
		},
		{
			Package: "pkg/dispatch/process",
			Ours: slices.Concat(domain(), []string{
				"pkg/bus", "pkg/dispatch", "pkg/lifecycle", "pkg/message", "pkg/provider", "pkg/telemetry",
			}),
			Others: []string{prometheus},
			Reason: "what the dispatchers of all channels share; a provider's adapter is handed to it",
		},
		{
			Package: "pkg/dispatch/dispatchtest",
			Ours:    slices.Concat(domain(), []string{"pkg/bus", "pkg/bus/bustest", "pkg/event/eventtest"}),
			Reason:  "what the tests of dispatchers share: only tests import it",
		},
		{
			Package: "pkg/client", Ours: []string{"pkg/problem"}, Others: []string{jwt},
			Reason: "integrators take it into their own programs, so it drags nothing of ours along",
		},
	}
}

// browserRows are for tests and pictures alone.
func browserRows() []archtest.Row {
	const reason = "a browser is for tests and pictures alone: no process imports it"
	return []archtest.Row{
		{Package: "pkg/chromium", Reason: reason},
		{
			Package: "pkg/chromium/browsertest", Ours: []string{"pkg/chromium"}, Others: []string{"github.com/chromedp"},
			Reason: reason,
		},
	}
}

func serviceRows() []archtest.Row {
	const process = "a process is wired from packages; stand-ins and test helpers are none of them"
	packages := slices.Concat(domain(), []string{
		"pkg/assertion", "pkg/bus", "pkg/client", "pkg/config", "pkg/faultpoint", "pkg/httpserver", "pkg/lifecycle", "pkg/limit", "pkg/message",
		"pkg/problem", "pkg/strictjson", "pkg/telemetry", "pkg/tracing", "deploy", "schemas",
	})
	metrics := []string{prometheus, group, otel}
	return []archtest.Row{
		{
			Package: "services/auth/...", Ours: slices.Concat(packages, []string{"pkg/phone", "pkg/postgres", "pkg/style", "services/auth/..."}),
			Others: metrics, Reason: process,
		},
		{
			Package: "services/auth/internal/authtest",
			Ours: slices.Concat(packages, []string{
				"pkg/bus/bustest", "pkg/dispatch/process", "pkg/postgres/pgtest", "pkg/provider/sandbox", "pkg/provider/sendgrid", "pkg/provider/vonage",
			}),
			Reason: "what stands around auth in its tests: only tests import it",
		},
		{
			Package: "services/verifier/...", Ours: slices.Concat(packages, []string{"pkg/postgres", "services/verifier/..."}),
			Others: metrics, Reason: process,
		},
		{
			Package: "services/verifier/internal/verifiertest",
			Ours:    slices.Concat(packages, []string{"pkg/postgres", "pkg/bus/bustest", "pkg/postgres/pgtest"}),
			Reason:  "what the verifier's tests share: only tests import it",
		},
		{
			Package: "services/email-dispatcher/...",
			Ours: slices.Concat(packages, []string{
				"pkg/dispatch/process", "pkg/provider", "pkg/provider/sendgrid", "services/email-dispatcher/...",
			}),
			Reason: "dispatchers have no database, and a process of one channel knows its own providers",
		},
		{
			Package: "services/sms-dispatcher/...",
			Ours: slices.Concat(packages, []string{
				"pkg/dispatch/process", "pkg/phone", "pkg/provider", "pkg/provider/vonage", "services/sms-dispatcher/...",
			}),
			Reason: "dispatchers have no database, and a process of one channel knows its own providers",
		},
		{
			Package: "services/receipts/...", Ours: slices.Concat(packages, []string{"pkg/provider", "services/receipts/..."}),
			Others: metrics, Reason: "it has no database and knows no adapter: webhooks are read by its own few lines",
		},
		{
			Package: "services/sandbox/...", Ours: slices.Concat(packages, []string{"pkg/provider/sandbox", "services/sandbox/..."}),
			Others: metrics, Reason: process,
		},
		{
			Package: "services/console/...", Ours: slices.Concat(packages, []string{"pkg/mask", "pkg/phone", "pkg/postgres", "pkg/style", "services/console/..."}),
			Others: metrics, Reason: process,
		},
		{
			Package: "services/demo/...",
			Ours: []string{
				"pkg/client", "pkg/config", "pkg/httpserver", "pkg/lifecycle", "pkg/problem", "pkg/telemetry", "services/demo/...",
			},
			Others: metrics, Reason: "the demo is an integrator: it has the client and the frame of a process",
		},
		{
			Package: "services/console/internal/chart", Others: []string{"gonum.org/v1/plot"},
			Reason: "it draws what it is given and judges nothing",
		},
		{
			Package: "services/console/internal/board", Ours: []string{"pkg/delivery", "pkg/health", "pkg/postgres", "pkg/rollout", "services/console/internal/chart"},
			Reason: "figures are judged by the domain and read by the database's package; the page has the words alone",
		},
		{
			Package: "services/doorcodectl/...",
			Ours:    slices.Concat(packages, []string{"pkg/certificate", "pkg/mask", "pkg/phone", "pkg/postgres", "services/doorcodectl/..."}),
			Reason:  process,
		},
		{
			Package: "services/standalone/...",
			Ours: slices.Concat(packages, []string{
				"pkg/bus/embedded", "pkg/postgres", "pkg/postgres/local", "services/...",
			}),
			Others: metrics, Reason: "it runs all processes in one, with a bus and a database of its own",
		},
		{
			Package: "services/bench/...",
			Ours: []string{
				"pkg/account", "pkg/bus", "pkg/event", "pkg/freeport", "pkg/httpserver", "pkg/keyring", "pkg/lifecycle", "pkg/postgres", "pkg/postgres/local",
				"services/bench/...",
			},
			Others: []string{"gonum.org/v1/plot", pgx},
			Reason: "it measures the binaries from outside and imports no process; the packages reach what lies beneath: bus, database and directory",
		},
		{Package: "services/e2e/...", Tests: true, Reason: "whatever end-to-end tests need stands in their test files"},
	}
}

// walls keep the modules of others that we speak through one adapter alone.
func walls() []archtest.Wall {
	return []archtest.Wall{
		{
			Module: "github.com/nats-io", Behind: []string{"pkg/bus/...", "services/e2e/..."},
			Reason: "only pkg/bus speaks NATS",
		},
		{
			Module: "github.com/jackc", Behind: []string{"pkg/postgres/...", "services/bench/internal/database", "services/e2e/..."},
			Reason: "only pkg/postgres speaks to the database, and who measures what the database costs without it",
		},
		{
			Module: "database/sql", Behind: nil,
			Reason: "the database is reached by pgx, in pkg/postgres",
		},
		{
			Module: "math/rand", Behind: nil,
			Reason: "whatever we draw is drawn by crypto/rand, so that nobody need ask whether it matters here",
		},
		{
			Module: "golang.org/x/crypto", Behind: nil,
			Reason: "cryptography is that of the standard library",
		},
		{
			Module: "github.com/sendgrid", Behind: []string{"pkg/provider/sendgrid", "pkg/provider/sandbox", "services/receipts/internal/sendgrid"},
			Reason: "a provider's SDK is imported by its adapter alone, and by the tests of its stand-in and of whoever verifies its signatures",
		},
		{
			Module: "github.com/vonage", Behind: []string{"pkg/provider/vonage", "pkg/provider/sandbox"},
			Reason: "a provider's SDK is imported by its adapter and by the tests of its stand-in alone",
		},
		{
			Module: "github.com/nyaruka", Behind: []string{"pkg/phone"},
			Reason: "one package reads phone numbers, so that all of them are judged alike",
		},
	}
}
