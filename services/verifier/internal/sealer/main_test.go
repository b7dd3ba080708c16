package sealer_test

import (
	"os"
	"testing"

	"doorcode/pkg/postgres/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
