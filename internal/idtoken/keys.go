package idtoken

import (
	"context"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	kjson "sigs.k8s.io/json"

	"github.com/jobgate/jobgate/internal/job"
)

const (
	// keysFreshFor is how old the set may be before it is fetched again in the background.
	keysFreshFor = time.Hour
	// keysGoodFor is how long the last good set serves while GitLab is away.
	keysGoodFor = 24 * time.Hour
	// keysPause is the least time between two fetches, however many tokens name keys that are not known.
	keysPause = 30 * time.Second
	// minKeyBits and maxKeyBits bound a key's modulus: less is weak (NIST SP 800-131A), and more costs too much.
	minKeyBits = 2048
	maxKeyBits = 8192
	// maxKeys bounds the keys of a set. GitLab has a handful.
	maxKeys = 64
)

// keySet are the instance's keys by id. It is replaced as a whole, so a key that GitLab withdraws is gone with the next
// fetch.
type keySet struct {
	source *Source

	mu       sync.Mutex
	keys     map[string]*rsa.PublicKey
	fetched  time.Time // the last good set; zero for none
	tried    time.Time // the last fetch
	underway *fetch    // nil: none

	results *prometheus.CounterVec
}

// fetch is one question for the set. Its error may be read once done is closed.
type fetch struct {
	done chan struct{}
	err  error
}

func newKeySet(s *Source, r prometheus.Registerer) *keySet {
	return &keySet{
		source: s,
		results: promauto.With(r).NewCounterVec(prometheus.CounterOpts{
			Name: "jobgate_idtoken_key_fetches_total",
			Help: "Fetches of GitLab's key set, by result: ok, or failed with the last good set staying in use.",
		}, []string{"result"}),
	}
}

// check is nil while a key that was used before is still GitLab's, as far as is known. The error is a *job.RejectedError
// once the key has left the set, and a *job.UnavailableError while nothing recent enough is known.
func (k *keySet) check(id string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Since(k.fetched) >= keysFreshFor {
		k.renew()
	}
	switch {
	case k.keys[id] == nil:
		return invalid("the key that signed it is no longer in GitLab's key set; start the job again")
	case !k.isUsable():
		return errUnread
	}
	return nil
}

var errUnread = &job.UnavailableError{Err: errors.New("GitLab's key set could not be read, and is asked for again within 30 s")}

// get returns a key. The error is a *job.RejectedError for an id that GitLab does not have; any other says why the keys
// could not be had.
func (k *keySet) get(ctx context.Context, id string) (*rsa.PublicKey, error) {
	key, fetch := k.find(id)
	if key != nil {
		return key, nil
	}
	if fetch != nil {
		select {
		case <-fetch.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.isUsable() && k.keys[id] != nil:
		return k.keys[id], nil
	case k.isUsable():
		// The set may be a moment older than the key, so this refusal is not remembered.
		return nil, &job.RejectedError{Rejection: job.Invalid, Fleeting: true,
			Message: "its key is not in GitLab's key set, which is read again within 30 s"}
	case fetch != nil && fetch.err != nil:
		return nil, fmt.Errorf("read GitLab's key set: %w", fetch.err)
	default:
		return nil, errUnread
	}
}

// find returns a key that is known, or the fetch that may bring it, if one may be made now.
func (k *keySet) find(id string) (*rsa.PublicKey, *fetch) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key := k.keys[id]
	if key != nil && time.Since(k.fetched) < keysFreshFor {
		return key, nil
	}
	fetch := k.renew()
	if key != nil && k.isUsable() {
		return key, nil
	}
	return nil, fetch
}

func (k *keySet) isUsable() bool { return !k.fetched.IsZero() && time.Since(k.fetched) < keysGoodFor }

// renew returns the fetch that is under way, or begins one. It returns nil if the last one was too short a time ago. It is
// called with the lock held, so that callers at the same time share one fetch.
func (k *keySet) renew() *fetch {
	if k.underway != nil || time.Since(k.tried) < keysPause {
		return k.underway
	}
	k.tried = time.Now()
	f := &fetch{done: make(chan struct{}), err: errors.New("the fetch was cut short")}
	k.underway = f
	k.source.background(func(ctx context.Context) {
		var keys map[string]*rsa.PublicKey
		defer func() { k.finish(f, keys) }() // also after a panic
		body, err := k.source.current.Load().api.Keys(ctx)
		if err == nil {
			keys, err = parseKeys(body)
		}
		f.err = err
	})
	return f
}

func (k *keySet) finish(f *fetch, keys map[string]*rsa.PublicKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	result := "failed"
	if keys != nil {
		result = "ok"
		k.keys, k.fetched = keys, time.Now()
	}
	k.results.WithLabelValues(result).Inc()
	k.underway = nil
	close(f.done)
}

var errNoKeys = errors.New("no RSA key for signatures in the key set")

// parseKeys reads a key set (RFC 7517). Keys of other kinds and sizes are passed over: the set also holds keys that sign
// no CI job's token.
func parseKeys(body []byte) (map[string]*rsa.PublicKey, error) {
	var set struct {
		Keys []struct {
			Type      string `json:"kty"`
			ID        string `json:"kid"`
			Use       string `json:"use"`
			Algorithm string `json:"alg"`
			Modulus   string `json:"n"`
			Exponent  string `json:"e"`
		} `json:"keys"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(body, &set); err != nil {
		return nil, errors.New("the key set is not JSON of the form that RFC 7517 requires")
	}
	keys := make(map[string]*rsa.PublicKey)
	for _, k := range set.Keys[:min(len(set.Keys), maxKeys)] {
		if k.Type != "RSA" || k.ID == "" || (k.Use != "" && k.Use != "sig") || (k.Algorithm != "" && k.Algorithm != "RS256") {
			continue
		}
		if key := parseRSA(k.Modulus, k.Exponent); key != nil {
			keys[k.ID] = key
		}
	}
	if len(keys) == 0 {
		return nil, errNoKeys
	}
	return keys, nil
}

// parseRSA returns nil for a key that must not be used.
func parseRSA(modulus, exponent string) *rsa.PublicKey {
	n, errN := base64.RawURLEncoding.DecodeString(modulus)
	e, errE := base64.RawURLEncoding.DecodeString(exponent)
	if errN != nil || errE != nil || len(e) > 4 {
		return nil
	}
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	if bits := key.N.BitLen(); bits < minKeyBits || bits > maxKeyBits || key.E < 3 || key.E%2 == 0 {
		return nil
	}
	return key
}
