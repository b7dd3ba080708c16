// Package style holds the style sheet that doorcode's own pages share: colours for light and dark, text, forms, buttons.
// It has no script and names no other file.
package style

import _ "embed"

//go:embed page.css
var sheet []byte

// Sheet returns the style sheet.
func Sheet() []byte { return append([]byte(nil), sheet...) }
