package idtoken

import (
	"context"
	"errors"
	"strconv"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"golang.org/x/sync/singleflight"

	"github.com/jobgate/jobgate/internal/job"
)

const (
	// groupsFreshFor is how old a project's groups may be before they are asked for again in the background.
	groupsFreshFor = 10 * time.Minute
	// groupsPause is the least time between two failed questions about one project.
	groupsPause = 10 * time.Second
	// maxProjects bounds the projects whose groups are remembered.
	maxProjects = 16384
)

// groupCache remembers the groups of projects. A failure keeps the last answer.
type groupCache struct {
	source   *Source
	projects *lru.Cache[int64, *groups]
	asking   singleflight.Group
	unknown  prometheus.Counter
}

// groups is an answer about a project. It is never changed.
type groups struct {
	fact job.Fact[[]int64]
	at   time.Time
}

func newGroupCache(s *Source, r prometheus.Registerer) *groupCache {
	projects, err := lru.New[int64, *groups](maxProjects)
	if err != nil {
		panic(err) // the size is a constant above 0
	}
	return &groupCache{
		source: s, projects: projects,
		unknown: promauto.With(r).NewCounter(prometheus.CounterOpts{
			Name: "jobgate_idtoken_groups_unknown_total",
			Help: "Questions about the groups of an ID token's project that GitLab refused, or for which there is no access token.",
		}),
	}
}

// of returns the groups of a project; none, with the reason, where they may not be learned. The error is trouble, and only
// at a project's first login.
func (g *groupCache) of(ctx context.Context, api API, projectID int64, lane job.Lane) (job.Fact[[]int64], error) {
	if !api.CanAsk() {
		g.unknown.Inc()
		return job.Fact[[]int64]{Why: "jobgate has no access token to ask with; ask the cluster's admin to give it one with the scope " +
			"read_api (gitlab.tokenFile)"}, nil
	}
	if known, ok := g.projects.Get(projectID); ok {
		if time.Since(known.at) >= groupsFreshFor {
			// Dated ahead, so that one question is on its way at a time, and a failure is not asked again at once.
			g.projects.Add(projectID, &groups{fact: known.fact, at: time.Now().Add(groupsPause - groupsFreshFor)})
			g.source.background(func(ctx context.Context) { _, _ = g.ask(ctx, api, projectID, job.Refreshes) })
		}
		return known.fact, nil
	}
	return g.ask(ctx, api, projectID, lane)
}

func (g *groupCache) ask(ctx context.Context, api API, projectID int64, lane job.Lane) (job.Fact[[]int64], error) {
	value, err, _ := g.asking.Do(strconv.FormatInt(projectID, 10), func() (any, error) {
		ids, err := api.Groups(ctx, projectID, lane)
		fact := job.KnownFact(ids)
		var unlearnable *job.UnlearnableError
		switch {
		case errors.As(err, &unlearnable):
			g.unknown.Inc()
			fact = job.Fact[[]int64]{Why: unlearnable.Why, Refused: unlearnable.Refused}
		case err != nil:
			return job.Fact[[]int64]{}, err
		}
		g.projects.Add(projectID, &groups{fact: fact, at: time.Now()})
		return fact, nil
	})
	return value.(job.Fact[[]int64]), err
}
