package job

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"hash"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"
)

// Registry knows jobs by their credential and by their id. Known jobs and refused credentials live in caches of their
// own, so that no flood of bad tokens pushes a job out. It is safe for concurrent use.
//
// It fails closed on identity: a definite rejection drops the job at once, however fresh it was. It fails static on
// infrastructure: while the source cannot tell, the last answer serves for StaleFor past its freshness.
type Registry struct {
	macs     sync.Pool // of HMACs under a secret that is new with every process, so that keys mean nothing outside it
	clock    clock
	sources  atomic.Pointer[Sources]
	settings atomic.Pointer[Settings]
	jobs     *lru.Cache[key, *entry]
	refused  *lru.Cache[key, refusal]
	ended    *lru.Cache[jobKey, *RejectedError]
	statuses statuses // of jobs of which only the id is known
	index    index
	outage   outage
	lookups  singleflight.Group
	waiting  map[Kind]*semaphore.Weighted
	running  sync.WaitGroup
	lifetime context.Context
	end      context.CancelFunc
	metrics  metrics
}

// Sources are where jobs are looked up.
type Sources struct {
	JobTokens Source
	// Facts teaches facts about the jobs of job tokens.
	Facts FactSource
	// IDTokens identifies the jobs of ID tokens; nil where the configuration has none.
	IDTokens Source
	// Statuses confirms jobs that only their id is known of.
	Statuses StatusSource
}

// Settings are the rules that may change while the registry runs.
type Settings struct {
	FreshFor    time.Duration // an answer is used without asking again
	StaleFor    time.Duration // and this much longer, but only while the source cannot tell
	RejectedFor time.Duration // a definite rejection is remembered
	MaxJobs     int
	MaxRejected int
	// Timeout bounds one lookup together with the facts that it asks for.
	Timeout time.Duration
	// RequireLiveness refuses a job that has not logged in until GitLab has confirmed it.
	RequireLiveness bool
	// Needs returns the facts that some rule asks for of a job.
	Needs func(*Job) Needs
	// Revision changes whenever Needs or the configured agents do: answers made under another one are looked up again at
	// their next use, and meanwhile may serve as stale ones.
	Revision string
}

func (s *Settings) freshness() freshness {
	return freshness{freshFor: s.FreshFor, staleFor: s.StaleFor}
}

// key represents a credential: HMAC-SHA-256 under the process's secret.
type key [sha256.Size]byte

// clock tells the time in two ways. Ages are measured on elapsed, which no step of the system's clock disturbs; only a
// token's own end is compared with the wall clock.
type clock struct {
	elapsed func() time.Duration // since the registry was made
	now     func() time.Time
}

// NewRegistry returns a registry and registers its metrics, unless the registerer is nil. Run it to have old entries
// swept out. The error says which bound in the settings cannot be used.
func NewRegistry(sources Sources, s Settings, r prometheus.Registerer) (*Registry, error) {
	started := time.Now()
	reg := &Registry{
		clock:   clock{elapsed: func() time.Duration { return time.Since(started) }, now: time.Now},
		waiting: map[Kind]*semaphore.Weighted{JobToken: semaphore.NewWeighted(maxWaiting), IDToken: semaphore.NewWeighted(maxWaiting)},
	}
	secret := make([]byte, sha256.Size)
	if _, err := rand.Read(secret); err != nil {
		return nil, fmt.Errorf("make key secret: %w", err)
	}
	reg.macs.New = func() any { return hmac.New(sha256.New, secret) }
	var err error
	if reg.jobs, err = lru.NewWithEvict(s.MaxJobs, func(k key, e *entry) { reg.index.remove(e.job, k) }); err != nil {
		return nil, fmt.Errorf("make cache of %d jobs: %w", s.MaxJobs, err)
	}
	if reg.statuses, err = newStatuses(s.MaxJobs, s.MaxRejected); err != nil {
		return nil, err
	}
	if reg.refused, err = lru.New[key, refusal](s.MaxRejected); err != nil {
		return nil, fmt.Errorf("make cache of %d rejections: %w", s.MaxRejected, err)
	}
	if reg.ended, err = lru.New[jobKey, *RejectedError](s.MaxRejected); err != nil {
		return nil, fmt.Errorf("make cache of %d ended jobs: %w", s.MaxRejected, err)
	}
	reg.index.keys = make(map[jobKey]key)
	reg.lifetime, reg.end = context.WithCancel(context.Background())
	reg.metrics = newMetrics(r, reg)
	reg.Configure(sources, s)
	return reg, nil
}

// Observe has the observer hear of outages. It comes before the first lookup.
func (r *Registry) Observe(o Observer) { r.outage.observer = o }

// Configure changes sources and rules. Lookups on their way end under the old ones.
func (r *Registry) Configure(sources Sources, s Settings) {
	r.sources.Store(&sources)
	r.settings.Store(&s)
	r.jobs.Resize(s.MaxJobs)
	r.statuses.resize(s.MaxJobs, s.MaxRejected)
	r.refused.Resize(s.MaxRejected)
	r.ended.Resize(s.MaxRejected)
}

// Run sweeps out what has become useless, until the context ends; then it ends the lookups on their way and waits for
// them.
func (r *Registry) Run(ctx context.Context) {
	defer r.running.Wait()
	defer r.end()
	for {
		s := r.settings.Load()
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(s.FreshFor+s.StaleFor, time.Second)):
			r.sweep()
		}
	}
}

// sweepDelay keeps an entry that is too old to serve for as long as the API server may still ask about its job without
// logging it in again, so that the answer is "not confirmed" and not "never seen".
const sweepDelay = time.Minute

// sweep drops entries long too old to serve, and their tokens with them. The order of the caches is by last use, and
// what was used lately was renewed lately, so the first one still good ends the walk.
func (r *Registry) sweep() {
	s, now := r.settings.Load(), r.clock.elapsed()
	old := s.FreshFor + s.StaleFor + sweepDelay
	for k, e, ok := r.jobs.GetOldest(); ok && now-e.answer.Load().at >= old; k, e, ok = r.jobs.GetOldest() {
		r.jobs.Remove(k)
	}
	r.statuses.sweep(now - old)
	for k, m, ok := r.refused.GetOldest(); ok && now >= m.until; k, m, ok = r.refused.GetOldest() {
		r.refused.Remove(k)
	}
}

// key keeps the kinds of credentials apart: what one source has said of a text is no answer of the other's.
func (r *Registry) key(c Credential) (k key) {
	mac := r.macs.Get().(hash.Hash)
	defer func() {
		mac.Reset() // it holds the end of the token until then
		r.macs.Put(mac)
	}()
	text := append(append(make([]byte, 0, 1+len(c.Token)), byte(c.Kind)), c.Token...)
	mac.Write(text)
	mac.Sum(k[:0])
	return k
}

// jobKey names a job by its id and the kind of credential that it logged in with. A job may have both kinds: what one of
// them proves, such as the agents that list the job, the other does not.
type jobKey struct {
	id   int64
	kind Kind
}

// index finds a job's entry by the job's id. It is bounded by the cache of jobs, whose evictions remove from it.
type index struct {
	mu   sync.RWMutex
	keys map[jobKey]key
}

func (x *index) add(j jobKey, k key) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.keys[j] = k
}

// remove forgets the job only if it still belongs to this key: it can be known under a newer token.
func (x *index) remove(j jobKey, k key) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.keys[j] == k {
		delete(x.keys, j)
	}
}

func (x *index) find(j jobKey) (key, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	k, ok := x.keys[j]
	return k, ok
}
