package authz

import (
	"context"

	lru "github.com/hashicorp/golang-lru/v2"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/klog/v2"

	"github.com/jobgate/jobgate/internal/decision"
	"github.com/jobgate/jobgate/internal/policy"
)

// maxReports bounds the jobs and restrictions that are remembered to have been reported. One that has been forgotten is
// reported once more.
const maxReports = 16384

// reports remembers what restrictions in report mode have reported, so that each job has one record for each.
type reports struct {
	seen *lru.Cache[report, struct{}]
}

type report struct {
	job         int64
	restriction string
}

func newReports() *reports {
	seen, err := lru.New[report, struct{}](maxReports)
	if err != nil {
		panic(err) // the size is a constant above 0
	}
	return &reports{seen: seen}
}

func (r *reports) forget() { r.seen.Purge() }

// once calls write unless the job has been reported for the restriction. A report that could not be written is tried again.
func (r *reports) once(job int64, restriction string, write func() (written bool)) {
	key := report{job: job, restriction: restriction}
	if seen, _ := r.seen.ContainsOrAdd(key, struct{}{}); !seen && !write() {
		r.seen.Remove(key)
	}
}

// judgeRestrictions denies by the first restriction that the request breaks. One in report mode only counts, and writes one
// record for each job.
func (a *Authorizer) judgeRestrictions(ctx context.Context, e *evaluation, attrs authorizer.Attributes) *Denial {
	for i := range e.policy.Restrictions {
		r := &e.policy.Restrictions[i]
		if !e.breaks(r) {
			continue
		}
		if r.Mode == policy.Enforce {
			return e.denialBy(r)
		}
		a.metrics.wouldDeny.WithLabelValues(r.Name).Inc()
		a.reported.once(e.claims.Job.ID, r.Name, func() bool {
			return a.log.Write(klog.FromContext(ctx), e.record(decision.WouldDeny, e.denialBy(r), attrs))
		})
	}
	return nil
}
