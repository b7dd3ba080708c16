// Command walk passes two points again and again, for the tests.
package main

import (
	"os"

	"doorcode/pkg/faultpoint"
)

func main() {
	for _, step := range []string{"one\n", "two\n", "three\n"} {
		faultpoint.Hit("walk.before")
		_, _ = os.Stdout.WriteString(step)
		faultpoint.Hit("walk.after")
	}
}
