package gitlab

import (
	"context"
	"errors"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/jobgate/jobgate/internal/job"
)

const (
	// sharedFor is how long the jobs of a project share a fact.
	sharedFor = time.Minute
	// troubleFor is how long they share that it could not be asked for.
	troubleFor = time.Second
	// maxShared bounds the facts of one kind that are remembered.
	maxShared = 4096
)

// shared holds facts that several jobs need: asked for by one of them at a time, and kept for a minute. A refusal is not
// shared, since it concerns one user's rights: the next job asks with its own token.
type shared[K comparable, V any] struct{ entries *lru.Cache[K, *sharedFact[V]] }

type sharedFact[V any] struct {
	turn    chan struct{} // holds one element while a job asks; it guards the rest
	value   V
	err     error // trouble, instead of the value
	expires time.Time
}

func newShared[K comparable, V any]() *shared[K, V] {
	entries, err := lru.New[K, *sharedFact[V]](maxShared)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return &shared[K, V]{entries: entries}
}

// anyValue keeps every value.
func anyValue[V any](V) bool { return true }

// get returns the fact, which ask learns where it is not known. Values that keep refuses are not remembered.
func (s *shared[K, V]) get(ctx context.Context, key K, keep func(V) bool, ask func(context.Context) (V, error)) (V, error) {
	fact, ok := s.entries.Get(key)
	if !ok {
		fact = &sharedFact[V]{turn: make(chan struct{}, 1)}
		if before, ok, _ := s.entries.PeekOrAdd(key, fact); ok {
			fact = before
		}
	}
	select {
	case fact.turn <- struct{}{}:
		defer func() { <-fact.turn }()
	case <-ctx.Done():
		var none V
		return none, &job.UnavailableError{Err: ctx.Err()}
	}
	if time.Now().Before(fact.expires) {
		return fact.value, fact.err
	}
	value, err := ask(ctx)
	var trouble *job.UnavailableError
	switch {
	case err == nil && keep(value):
		fact.value, fact.err, fact.expires = value, nil, time.Now().Add(sharedFor)
	case errors.As(err, &trouble) && ctx.Err() == nil:
		fact.value, fact.err, fact.expires = value, err, time.Now().Add(troubleFor)
	}
	return value, err
}
