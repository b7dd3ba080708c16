package limit

import (
	"time"

	"golang.org/x/time/rate"
)

// Bucket is the local limit in front of all others: it keeps one replica from taking in more than it can serve, and
// counts nothing that has to be exact.
type Bucket struct {
	limiter *rate.Limiter
	now     func() time.Time
}

// NewBucket returns a bucket that lets that many through per second, and as many at once.
func NewBucket(perSecond int, now func() time.Time) *Bucket {
	return &Bucket{limiter: rate.NewLimiter(rate.Limit(perSecond), perSecond), now: now}
}

// Allow reports whether one more may pass.
func (b *Bucket) Allow() bool { return b.limiter.AllowN(b.now(), 1) }
