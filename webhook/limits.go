package webhook

import (
	"net/http"

	"golang.org/x/sync/semaphore"
)

// How much work may be in flight. Each endpoint has limits apart from the other's, so that waiting logins never take the
// place of an authorization. An anonymous client of the API server can send tokens of close to 1 MiB, and the API server
// passes each on, so large bodies have a budget of their own that cannot crowd out honest reviews.
const (
	// maxInFlight bounds the requests of one endpoint that are being served. It is more than may wait for GitLab, 2,048 of each
	// kind of credential (package internal/job), so that known jobs are answered beside those.
	maxInFlight = 5120
	// smallBody is a body that needs no budget, in bytes; an honest review is a tenth of it.
	smallBody = 16 << 10
	// largeBodies is the budget for all larger bodies of one endpoint together, in bytes.
	largeBodies = 32 << 20
)

// limits are one endpoint's.
type limits struct {
	requests *semaphore.Weighted
	bodies   *semaphore.Weighted
}

func newLimits() *limits {
	return &limits{requests: semaphore.NewWeighted(maxInFlight), bodies: semaphore.NewWeighted(largeBodies)}
}

// bound turns requests over the limits away at once: a queue would only make the API server's own queue longer.
func (l *limits) bound(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !l.requests.TryAcquire(1) {
			writeStatus(w, http.StatusServiceUnavailable, "jobgate has too many reviews to answer; try again in a few seconds")
			return
		}
		defer l.requests.Release(1)
		if size := declared(r); size > smallBody {
			if !l.bodies.TryAcquire(size) {
				writeStatus(w, http.StatusServiceUnavailable, "jobgate has too many large reviews to answer; try again in a few seconds")
				return
			}
			defer l.bodies.Release(size)
		}
		next.ServeHTTP(w, r)
	})
}

// declared is the most that will be read of a body: its declared length, or the bound where it has none.
func declared(r *http.Request) int64 {
	if r.ContentLength < 0 || r.ContentLength > maxBody {
		return maxBody
	}
	return r.ContentLength
}
