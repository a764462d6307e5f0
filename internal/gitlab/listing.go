package gitlab

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/jobgate/jobgate/internal/job"
)

const (
	// maxListingPages bounds one listing: 10,000 environments.
	maxListingPages = 100
	// maxListingBytes bounds the names and slugs that one listing keeps.
	maxListingBytes = 1 << 20
	// listedFor is how long a listing is remembered, whether or not it is complete.
	listedFor = time.Minute
	// maxListed bounds the projects whose listings are remembered, and maxListings those of one project.
	maxListed   = 16
	maxListings = 4
)

// EnvironmentName implements job.FactSource. It costs one call where the slug tells how the name begins, which is so for
// the usual review/$CI_COMMIT_REF_SLUG. Else it takes a listing of the project's environments, narrowed to the names that
// begin as a pattern does. A project has one listing at a time, which all of its jobs read on together.
func (c *Client) EnvironmentName(ctx context.Context, token string, j *job.Job, patterns []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	s := &environmentSearch{
		client: c, project: j.ProjectID, slug: j.Environment.Slug, credential: jobToken(token), why: whyEnvironments, asked: time.Now(),
	}
	if token == "" {
		s.credential, s.why = c.access, whyAccess
	}
	possible := slices.DeleteFunc(slices.Clone(patterns), func(pattern string) bool {
		return !strings.Contains(pattern, "*") && !j.Environment.MayMatch(pattern) // asked about before, or another slug's
	})
	if len(possible) == 0 && len(patterns) > 0 {
		return "", job.ErrNoMatch
	}
	name, result, err := s.find(ctx, c.listings.of(j.ProjectID), prefixes(possible))
	c.metrics.countListing(result)
	return name, asFactError(err, s.why)
}

// listings are the listings of the projects asked about lately.
type listings struct {
	projects *lru.Cache[int64, *projectListings]
}

// projectListings are the listings of one project, by what they search for.
type projectListings struct {
	turn chan struct{} // holds one element while a job reads on
	mu   sync.Mutex    // guards the rest
	all  map[string]*listing
}

// listing is how far a search has come. One that a failure stopped goes on where it was.
type listing struct {
	began    time.Time
	names    map[string]string // by slug
	bytes    int
	read     int // pages
	complete bool
	tooMany  bool
}

func newListings() *listings {
	projects, err := lru.New[int64, *projectListings](maxListed)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return &listings{projects: projects}
}

func (l *listings) of(project int64) *projectListings {
	p := &projectListings{turn: make(chan struct{}, 1), all: map[string]*listing{}}
	if before, ok, _ := l.projects.PeekOrAdd(project, p); ok {
		l.projects.Get(project) // counts as used
		return before
	}
	return p
}

// recall returns a name that a listing of the last minute has.
func (p *projectListings) recall(slug string) (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.all {
		if name, ok := l.names[slug]; ok && time.Since(l.began) < listedFor {
			return name, true
		}
	}
	return "", false
}

// current returns the listing to read on. A complete one answers only those who asked before it began: a name that it
// lacks may have come since.
func (p *projectListings) current(search string, asked time.Time) *listing {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.all[search]
	if l == nil || time.Since(l.began) >= listedFor || (l.complete && l.began.Before(asked)) {
		l = &listing{began: time.Now(), names: map[string]string{}}
		delete(p.all, search)
		p.makeRoom()
		p.all[search] = l
	}
	return l
}

// makeRoom drops the oldest listings. The lock is held.
func (p *projectListings) makeRoom() {
	for len(p.all) >= maxListings {
		oldest := ""
		for search, l := range p.all {
			if first, ok := p.all[oldest]; !ok || l.began.Before(first.began) {
				oldest = search
			}
		}
		delete(p.all, oldest)
	}
}

// add notes a page.
func (p *projectListings) add(l *listing, page []environment, more bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range page {
		l.names[e.Slug] = e.Name
		l.bytes += len(e.Slug) + len(e.Name)
	}
	l.read++
	l.complete = !more
	l.tooMany = more && (l.read >= maxListingPages || l.bytes >= maxListingBytes)
}

// environmentSearch is one job's question for the name of its environment.
type environmentSearch struct {
	client     *Client
	project    int64
	slug       string
	credential credential
	why        string // what would teach the name where the credential is refused
	asked      time.Time
}

// find returns the name and, for the metric, how the search ended.
func (s *environmentSearch) find(ctx context.Context, p *projectListings, searches []string) (name, result string, err error) {
	if name, ok := p.recall(s.slug); ok {
		return name, "", nil
	}
	for _, guess := range guesses(searches, s.slug) {
		page, _, err := s.page(ctx, guess, 1)
		if err != nil {
			return "", "", err
		}
		for _, e := range page {
			if e.Slug == s.slug {
				return e.Name, "", nil
			}
		}
	}
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return "", listingFailed, &job.UnavailableError{Err: ctx.Err()}
	}
	for _, search := range searches {
		name, result, err := s.list(ctx, p, search)
		if result != listingAbsent {
			return name, result, err
		}
	}
	// Without a search the listing had every environment; a narrowed one lacks those that no pattern matches.
	if slices.Contains(searches, "") {
		return "", listingAbsent, &job.UnlearnableError{Why: "the project no longer has an environment with the job's slug"}
	}
	return "", listingAbsent, job.ErrNoMatch
}

// list reads on until the name is found or the listing is complete.
func (s *environmentSearch) list(ctx context.Context, p *projectListings, search string) (name, result string, err error) {
	for {
		if name, ok := p.recall(s.slug); ok {
			return name, listingFound, nil
		}
		l := p.current(search, s.asked)
		switch {
		case l.complete:
			return "", listingAbsent, nil
		case l.tooMany:
			why := fmt.Sprintf("the project has more environments than jobgate looks through (%d)", maxListingPages*perPage)
			return "", listingTooMany, &job.UnlearnableError{Why: why}
		}
		page, more, err := s.page(ctx, search, l.read+1)
		if err != nil {
			return "", listingFailed, err
		}
		p.add(l, page, more)
	}
}

// page asks for one page, with the access token once the job token is refused.
func (s *environmentSearch) page(ctx context.Context, search string, number int) (page []environment, more bool, err error) {
	query := url.Values{}
	if search != "" {
		query.Set("search", search)
	}
	read := func(a *answer) ([]environment, error) {
		more = a.more
		return readEnvironments(a)
	}
	r := environmentsRequest(s.credential, s.project, query).page(number)
	page, err = get(ctx, s.client, r, read)
	if isRefused(err) && s.client.CanAsk() && s.credential != s.client.access {
		s.credential, s.why = s.client.access, whyAccess
		r.credential = s.credential
		page, err = get(ctx, s.client, r, read)
	}
	return page, more, err
}
