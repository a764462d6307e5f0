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
	"golang.org/x/sync/singleflight"
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
	fetch  singleflight.Group

	mu      sync.Mutex
	keys    map[string]*rsa.PublicKey
	fetched time.Time // the last good set; zero for none
	tried   time.Time // the last fetch

	results *prometheus.CounterVec
}

func newKeySet(s *Source, r prometheus.Registerer) *keySet {
	k := &keySet{
		source: s,
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "jobgate_idtoken_key_fetches_total",
			Help: "Fetches of GitLab's key set, by result: ok, or failed with the last good set staying in use.",
		}, []string{"result"}),
	}
	if r != nil {
		r.MustRegister(k.results)
	}
	return k
}

// has says whether a key that was used before is still GitLab's, as far as is known.
func (k *keySet) has(id string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.renewInBackground()
	return k.keys[id] != nil
}

// get returns a key. The error is a *job.RejectedError for an id that GitLab does not have; any other says why the keys
// could not be had.
func (k *keySet) get(ctx context.Context, api API, id string) (*rsa.PublicKey, error) {
	k.mu.Lock()
	usable := k.isUsable()
	if key := k.keys[id]; key != nil && usable {
		k.renewInBackground()
		k.mu.Unlock()
		return key, nil
	}
	isDue := time.Since(k.tried) >= keysPause
	k.mu.Unlock()
	if !isDue {
		// The set may be a moment older than the key, so this refusal is not remembered.
		if usable {
			return nil, &job.RejectedError{Rejection: job.Invalid, Fleeting: true,
				Message: "its key is not in GitLab's key set, which is read again within 30 s"}
		}
		return nil, &job.UnavailableError{Err: errors.New("GitLab's key set could not be read, and is asked for again within 30 s")}
	}
	if err := k.renew(ctx, api); err != nil && !usable {
		return nil, fmt.Errorf("read GitLab's key set: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if key := k.keys[id]; key != nil && k.isUsable() {
		return key, nil
	}
	return nil, &job.RejectedError{Rejection: job.Invalid, Message: "its key is not in GitLab's key set", Fleeting: true}
}

func (k *keySet) isUsable() bool { return !k.fetched.IsZero() && time.Since(k.fetched) < keysGoodFor }

// renewInBackground is called with the lock held.
func (k *keySet) renewInBackground() {
	if time.Since(k.fetched) < keysFreshFor || time.Since(k.tried) < keysPause {
		return
	}
	k.tried = time.Now()
	k.source.background(func(ctx context.Context) { _ = k.renew(ctx, k.source.current.Load().api) })
}

// renew fetches the set, once for all who ask at the same time.
func (k *keySet) renew(ctx context.Context, api API) error {
	done := k.fetch.DoChan("", func() (any, error) {
		k.mu.Lock()
		k.tried = time.Now()
		k.mu.Unlock()
		ctx, cancel := context.WithTimeout(k.source.lifetime, backgroundTimeout)
		defer cancel()
		body, err := api.Keys(ctx)
		var keys map[string]*rsa.PublicKey
		if err == nil {
			keys, err = parseKeys(body)
		}
		if err != nil {
			k.results.WithLabelValues("failed").Inc()
			return nil, err
		}
		k.results.WithLabelValues("ok").Inc()
		k.mu.Lock()
		defer k.mu.Unlock()
		k.keys, k.fetched = keys, time.Now()
		return nil, nil
	})
	select {
	case result := <-done:
		return result.Err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
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
		return nil, errors.New("the key set is not JSON of the form that RFC 7517 asks for")
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
