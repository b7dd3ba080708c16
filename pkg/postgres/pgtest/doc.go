// Package pgtest gives every test a Postgres database of its own, with the schema
// and the real roles of doorcode. Databases are cloned from a template that is
// migrated once per cluster, and dropped when their test ends, so tests run in
// parallel and see nothing of each other.
//
// A test binary uses the cluster that the variable PGTEST_URL names (the command
// in the folder cluster starts one for a whole run), or a private one of its own.
// Either needs a TestMain:
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
//
// Tests inside package postgres have to live in package postgres_test, since
// pgtest imports postgres.
package pgtest
