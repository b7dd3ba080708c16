package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"math/big"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"doorcode/pkg/batch"
)

// sharing says how calls of one kind share statements: as many as one statement takes, and how many statements are out
// at once. Few are out, so that those that come meanwhile fill the next.
type sharing struct{ most, flights int }

// shared is how checks do it (measured: BenchmarkCheck): those that wait for a row or for the disk leave flights for the
// others.
func shared() sharing { return sharing{most: 64, flights: 4} }

// denser is how calls do it that wait neither long nor for the disk: with half as many statements out at once, each takes
// more of them.
func (s sharing) denser() sharing { return sharing{most: s.most, flights: (s.flights + 1) / 2} }

// group makes the line of one kind of calls.
func group[Q, A any](s sharing, keys func(Q) []string, fly func(context.Context, []Q) []batch.Answer[A]) *batch.Group[Q, A] {
	return batch.New(batch.Config[Q, A]{Most: s.most, Flights: s.flights, Keys: keys, Fly: fly})
}

// Figures of a check that a group skipped because somebody else held its challenge.
const (
	skipMin   = 2 * time.Millisecond
	skipMax   = 10 * time.Millisecond
	skipTries = 4 // then it asks alone and waits
)

// pauseSkipped waits a little before a skipped check asks again, each for another time.
func pauseSkipped(ctx context.Context) error {
	more, err := rand.Int(rand.Reader, big.NewInt(int64(skipMax-skipMin)))
	if err != nil {
		return err
	}
	timer := time.NewTimer(skipMin + time.Duration(more.Int64()))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// alike are the answers to n questions that failed in the same way.
func alike[A any](n int, err error) []batch.Answer[A] {
	answers := make([]batch.Answer[A], n)
	for i := range answers {
		answers[i].Err = err
	}
	return answers
}

// errApart is a group's answer to all its questions when it failed because of one of them: each is put again by itself, by
// its own caller, so that nobody waits for the one.
var errApart = errors.New("a group failed because of one of its questions")

// ask puts a question to a group, and by itself when the group failed because of one of its questions.
func ask[Q, A any](ctx context.Context, g *batch.Group[Q, A], q Q, alone func(context.Context, Q) (A, error)) (A, error) {
	a, err := g.Do(ctx, q)
	if errors.Is(err, errApart) {
		return alone(ctx, q)
	}
	return a, err
}

// reading is a flight of questions that need not be told apart, all in one statement.
func reading[Q, A any](read func(context.Context, []Q) ([]batch.Answer[A], error)) func(context.Context, []Q) []batch.Answer[A] {
	return func(ctx context.Context, questions []Q) []batch.Answer[A] {
		answers, err := read(ctx, questions)
		if len(questions) > 1 && ofOne(err) {
			err = errApart
		}
		if err != nil {
			return alike[A](len(questions), err)
		}
		return answers
	}
}

// single is read for one question.
func single[Q, A any](read func(context.Context, []Q) ([]batch.Answer[A], error)) func(context.Context, Q) (A, error) {
	return func(ctx context.Context, q Q) (A, error) {
		answers, err := read(ctx, []Q{q})
		if err != nil {
			var none A
			return none, err
		}
		return answers[0].Value, answers[0].Err
	}
}

// ofOne reports whether a group failed because of one of its questions, so that the others may be answered without it:
// somebody held a row for too long, several did and their waits added up to the statement's time-out, or a value cannot be
// stored or compared.
func ofOne(err error) bool {
	var reported *pgconn.PgError
	late := errors.As(err, &reported) && reported.Code == "57014"
	return late || IsContended(err) || IsRejected(err)
}
