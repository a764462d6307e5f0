package job

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"github.com/jobgate/jobgate/internal/gitlab"
)

// maxWait is how long anybody waits for a refresh while there is an older answer that may still be used.
const maxWait = time.Second

// Source is where jobs are looked up.
type Source interface {
	FactSource
	// AllowedAgents says who the job behind the token is. A *gitlab.RejectedError is definite; every other error means
	// that the source could not tell. It must end by itself within a bounded time.
	AllowedAgents(ctx context.Context, jobToken string, urgency gitlab.Urgency) (*gitlab.AllowedAgents, error)
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
	// Agents are the agents served; of an answer nothing else is kept.
	Agents []ServedAgent
}

// ServedAgent is an agent that stands for this cluster.
type ServedAgent struct {
	ID int64
	// Needs are the facts that this cluster's rules ask for of its jobs, besides those its own configuration asks for.
	Needs Needs
	// FiltersProtectedBranches is false where GitLab lists the agent for unprotected refs whatever its configuration says.
	FiltersProtectedBranches bool
}

// Registry knows jobs by their token and by their id. Known jobs and refused tokens live in caches of their own, so that
// no flood of bad tokens pushes a job out. It is safe for concurrent use.
//
// It fails closed on identity: a definite rejection drops the job at once, however fresh it was. It fails static on
// infrastructure: while the source cannot tell, the last answer serves for StaleFor past its freshness.
type Registry struct {
	keySecret [sha256.Size]byte // new with every process, so that keys mean nothing outside it
	source    atomic.Pointer[Source]
	settings  atomic.Pointer[settings]
	jobs      *lru.Cache[key, *entry]
	memos     *lru.Cache[key, memo]
	ended     *lru.Cache[int64, *gitlab.RejectedError] // jobs that were known, by id
	index     index
	flights   singleflight.Group
	running   sync.WaitGroup
	lifetime  context.Context
	end       context.CancelFunc
	metrics   metrics
}

// settings are Settings with the served agents by id. The map's address stays the same while its content does: an entry
// made under another one must be looked up again.
type settings struct {
	Settings
	served *servedAgents
}

type servedAgents struct{ byID map[int64]ServedAgent }

func newServedAgents(agents []ServedAgent) *servedAgents {
	s := &servedAgents{byID: make(map[int64]ServedAgent, len(agents))}
	for _, a := range agents {
		s.byID[a.ID] = a
	}
	return s
}

// key stands for a token: HMAC-SHA-256 under the process's secret.
type key [sha256.Size]byte

// NewRegistry returns a registry and registers its metrics, unless the registerer is nil. Run it to have old entries
// swept out. The error tells which bound in the settings cannot be used.
func NewRegistry(source Source, s Settings, r prometheus.Registerer) (*Registry, error) {
	reg := &Registry{}
	if _, err := rand.Read(reg.keySecret[:]); err != nil {
		return nil, fmt.Errorf("make key secret: %w", err)
	}
	var err error
	if reg.jobs, err = lru.NewWithEvict(s.MaxJobs, func(k key, e *entry) { reg.index.remove(e.id, k) }); err != nil {
		return nil, fmt.Errorf("make cache of %d jobs: %w", s.MaxJobs, err)
	}
	if reg.memos, err = lru.New[key, memo](s.MaxRejected); err != nil {
		return nil, fmt.Errorf("make cache of %d rejections: %w", s.MaxRejected, err)
	}
	if reg.ended, err = lru.New[int64, *gitlab.RejectedError](s.MaxRejected); err != nil {
		return nil, fmt.Errorf("make cache of %d ended jobs: %w", s.MaxRejected, err)
	}
	reg.index.keys = make(map[int64]key)
	reg.lifetime, reg.end = context.WithCancel(context.Background())
	reg.metrics = newMetrics(r, reg)
	reg.SetSource(source)
	reg.Configure(s)
	return reg, nil
}

// SetSource makes later lookups go elsewhere. Those on their way end where they are.
func (r *Registry) SetSource(s Source) { r.source.Store(&s) }

// Configure changes the rules. Answers that were cut down to another set of agents are looked up again at their next
// use; meanwhile they may serve as stale ones.
func (r *Registry) Configure(s Settings) {
	served := newServedAgents(s.Agents)
	if old := r.settings.Load(); old != nil && maps.Equal(old.served.byID, served.byID) {
		served = old.served
	}
	r.settings.Store(&settings{Settings: s, served: served})
	r.jobs.Resize(s.MaxJobs)
	r.memos.Resize(s.MaxRejected)
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
			r.sweep(time.Now())
		}
	}
}

// sweepDelay keeps an entry that is too old to serve for as long as the API server may still ask about its job without
// logging it in again, so that the answer is "not confirmed" and not "never seen".
const sweepDelay = time.Minute

// sweep drops entries long too old to serve, and their tokens with them. The order of the caches is by last use, and
// what was used lately was renewed lately, so the first one still good ends the walk.
func (r *Registry) sweep(now time.Time) {
	s := r.settings.Load()
	then := now.Add(-sweepDelay)
	for k, e, ok := r.jobs.GetOldest(); ok && !e.known.Load().usable(then, s); k, e, ok = r.jobs.GetOldest() {
		r.jobs.Remove(k)
	}
	for k, m, ok := r.memos.GetOldest(); ok && !now.Before(m.until); k, m, ok = r.memos.GetOldest() {
		r.memos.Remove(k)
	}
}

func (r *Registry) key(token string) (k key) {
	mac := hmac.New(sha256.New, r.keySecret[:])
	mac.Write([]byte(token))
	mac.Sum(k[:0])
	return k
}

// index finds a job's entry by the job's id. It is bounded by the cache of jobs, whose evictions remove from it.
type index struct {
	mu   sync.RWMutex
	keys map[int64]key
}

func (x *index) add(id int64, k key) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.keys[id] = k
}

// remove forgets the id only if it still stands for this key: a job can be known under a newer token.
func (x *index) remove(id int64, k key) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.keys[id] == k {
		delete(x.keys, id)
	}
}

func (x *index) find(id int64) (key, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	k, ok := x.keys[id]
	return k, ok
}
