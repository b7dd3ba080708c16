package app

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"doorcode/pkg/mask"
	"doorcode/pkg/postgres"
)

// auditFormat is how an export is written.
type auditFormat string

// The formats of an export.
const (
	formatNDJSON auditFormat = "ndjson" // a JSON object a line
	formatCSV    auditFormat = "csv"    // RFC 4180 with a header and a line feed alone at the ends
)

// parse reads a format.
func (f *auditFormat) parse(s string) error {
	*f = auditFormat(s)
	if *f != formatNDJSON && *f != formatCSV {
		return errors.New("a format is ndjson or csv")
	}
	return nil
}

// auditTime is RFC 3339 in UTC with the six digits that Postgres keeps, so that times sort as texts.
const auditTime = "2006-01-02T15:04:05.000000Z"

// auditLine is one row of an export. The order of its fields is that of the columns, and stays: new ones come last.
type auditLine struct {
	At        string  `json:"at"`
	ID        string  `json:"id"`
	Kind      string  `json:"kind"`
	Workspace *string `json:"workspace"`
	Login     *string `json:"login"`
	Challenge *string `json:"challenge"`
	Actor     string  `json:"actor"`
	Detail    any     `json:"detail"`
}

// auditColumns are the names of an auditLine's fields, in their order.
func auditColumns() []string {
	return []string{"at", "id", "kind", "workspace", "login", "challenge", "actor", "detail"}
}

// auditFile writes an export to a file and sums it up. It holds back no more than a few kilobytes.
type auditFile struct {
	format auditFormat
	buffer *bufio.Writer // of the file and the hash
	hash   hash.Hash
	csv    *csv.Writer
	masks  mask.Masks
}

// newAuditFile begins an export.
func newAuditFile(format auditFormat, out io.Writer) (*auditFile, error) {
	f := &auditFile{format: format, hash: sha256.New(), masks: mask.New()}
	f.buffer = bufio.NewWriterSize(io.MultiWriter(out, f.hash), 64<<10)
	f.csv = csv.NewWriter(f.buffer)
	if format == formatNDJSON {
		return f, nil
	}
	err := f.csv.Write(auditColumns())
	if err != nil {
		return nil, fmt.Errorf("write the header: %w", err)
	}
	return f, nil
}

// Row writes one row, with every address in it masked.
func (f *auditFile) Row(a postgres.Audit) error {
	decoder := json.NewDecoder(bytes.NewReader(a.Detail))
	decoder.UseNumber() // A number stays as it was written.
	var detail any
	err := decoder.Decode(&detail)
	if err != nil {
		return fmt.Errorf("read the detail of %s: %w", a.ID, err)
	}
	line := auditLine{
		At: a.At.UTC().Format(auditTime), ID: f.masks.Text(a.ID), Kind: f.masks.Text(string(a.Kind)), Workspace: f.cell(a.Workspace),
		Login: f.cell(a.Login), Challenge: f.cell(a.Challenge), Actor: f.masks.Text(a.Actor), Detail: f.masks.Value(detail),
	}
	if f.format == formatNDJSON {
		return writeJSON(f.buffer, line)
	}
	var text bytes.Buffer
	err = writeJSON(&text, line.Detail)
	if err != nil {
		return err
	}
	return f.csv.Write([]string{
		line.At, harmless(line.ID), harmless(line.Kind), harmless(filled(line.Workspace)), harmless(filled(line.Login)),
		harmless(filled(line.Challenge)), harmless(line.Actor), harmless(strings.TrimSuffix(text.String(), "\n")),
	})
}

// Sum writes what is held back and returns the SHA-256 of all that was written.
func (f *auditFile) Sum() (string, error) {
	f.csv.Flush()
	err := errors.Join(f.csv.Error(), f.buffer.Flush())
	if err != nil {
		return "", fmt.Errorf("write the rows: %w", err)
	}
	return hex.EncodeToString(f.hash.Sum(nil)), nil
}

// cell is a value with its addresses masked, or nil for none.
func (f *auditFile) cell(s string) *string {
	if s == "" {
		return nil
	}
	s = f.masks.Text(s)
	return &s
}

// filled is what a cell holds, nothing for none.
func filled(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// writeJSON writes a value as one line, < and > as they are.
func writeJSON(out io.Writer, value any) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	if err != nil {
		return fmt.Errorf("write a row: %w", err)
	}
	return nil
}

// harmless keeps a spreadsheet from taking a cell for a formula (CWE-1236): one that begins like a formula gets an
// apostrophe before it.
func harmless(cell string) string {
	if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r\n") {
		return "'" + cell
	}
	return cell
}
