package sealer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"doorcode/pkg/auditlog"
	"doorcode/pkg/faultpoint"
)

// ErrConflict says that the file has a head which the database lacks or contradicts. One of them was tampered with, or
// the database was set back. Nothing more is written to the file until somebody has looked.
var ErrConflict = errors.New("the file of seals and the database contradict one another; `doorcodectl audit verify -anchor` tells where")

// Figures of the file.
const (
	anchorPage = 1000
	lastLines  = 16 << 10 // the last line is in so many bytes
)

// heads is what an anchor needs of Postgres.
type heads interface {
	AuditHeads(ctx context.Context, after int64, limit int) ([]auditlog.Head, error)
}

// Anchor keeps all heads in a file, a JSON object a line, in their order and without a gap. It only ever appends. Several
// processes of one machine may share a file: one at a time writes into it.
type Anchor struct {
	path  string
	store heads
}

// NewAnchor returns the anchor of a file, which need not be there.
func NewAnchor(path string, s heads) *Anchor { return &Anchor{path: path, store: s} }

// CatchUp appends the heads that the database has and the file has not, and returns when they are on the disk. Half a
// line, which a crash left at the end, is written anew. It fails with ErrConflict, and then appends nothing. When another
// process is at it, there is nothing to do.
func (a *Anchor) CatchUp(ctx context.Context) (err error) {
	file, err := os.OpenFile(a.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open the file of seals: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }() // It ends the lock as well.
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("lock the file of seals: %w", err)
	}
	last, err := lastHead(file)
	if err != nil {
		return err
	}
	// The last one again, to be compared.
	after := max(last.Number-1, 0)
	for {
		page, err := a.store.AuditHeads(ctx, after, anchorPage)
		if err != nil {
			return err
		}
		fresh := page
		if last.Number > 0 && after < last.Number {
			if len(page) == 0 || !page[0].Same(last) {
				return fmt.Errorf("%w: seal %d", ErrConflict, last.Number)
			}
			fresh = page[1:]
		}
		err = appendHeads(file, fresh)
		if err != nil {
			return err
		}
		if len(page) < anchorPage {
			return nil
		}
		after = page[len(page)-1].Number
	}
}

// lastHead reads the last whole line, cuts off what stands behind it, and leaves the file at its end. Of an empty file it
// is the zero head.
func lastHead(file *os.File) (auditlog.Head, error) {
	var last auditlog.Head
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return last, fmt.Errorf("read the file of seals: %w", err)
	}
	tail := make([]byte, min(size, lastLines))
	_, err = file.ReadAt(tail, size-int64(len(tail)))
	if err != nil {
		return last, fmt.Errorf("read the file of seals: %w", err)
	}
	whole := tail[:bytes.LastIndexByte(tail, '\n')+1]
	if torn := int64(len(tail) - len(whole)); torn > 0 {
		if len(whole) == 0 && size > lastLines {
			return last, fmt.Errorf("%w: the file is not one of seals", ErrConflict)
		}
		err = file.Truncate(size - torn)
		if err == nil {
			_, err = file.Seek(size-torn, io.SeekStart)
		}
		if err != nil {
			return last, fmt.Errorf("cut half a line off the file of seals: %w", err)
		}
	}
	if len(whole) == 0 {
		return last, nil
	}
	line := whole[bytes.LastIndexByte(whole[:len(whole)-1], '\n')+1:]
	err = json.Unmarshal(line, &last)
	if err != nil || last.Number < 1 {
		return last, fmt.Errorf("%w: its last line is no head", ErrConflict)
	}
	return last, nil
}

// appendHeads writes heads and waits for the disk.
func appendHeads(file *os.File, fresh []auditlog.Head) error {
	if len(fresh) == 0 {
		return nil
	}
	var lines bytes.Buffer
	encoder := json.NewEncoder(&lines)
	for _, head := range fresh {
		err := encoder.Encode(head)
		if err != nil {
			return fmt.Errorf("write the file of seals: %w", err)
		}
	}
	_, err := file.Write(lines.Bytes())
	faultpoint.Hit("sealer.written")
	if err == nil {
		err = file.Sync()
	}
	if err != nil {
		return fmt.Errorf("write the file of seals: %w", err)
	}
	return nil
}
