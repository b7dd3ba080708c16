package app

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func TestListed_ReadsTheStandardInput(t *testing.T) {
	t.Parallel()
	c := command{in: strings.NewReader("# the first ones\n\nacme\r\n  globex\t\ninitech")}
	ids, err := c.listed("-")
	if err != nil || !slices.Equal(ids, []string{"acme", "globex", "initech"}) {
		t.Errorf("%q, %v", ids, err)
	}
	broken := errors.New("the pipe broke")
	c.in = iotest.ErrReader(broken)
	_, err = c.listed("-")
	if !errors.Is(err, broken) {
		t.Errorf("half of a list is taken: %v", err)
	}
}
