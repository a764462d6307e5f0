// Package decision writes what was decided about jobs and tokens: one record for each decision that an admin would look
// for, with the same fields whatever was decided. Records go to the log, and as JSON lines to a stream where one is
// given.
//
// It knows fields and how many records there may be. It must not know how a decision is made. A record never holds
// anything of a token.
package decision

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"golang.org/x/time/rate"
	"k8s.io/klog/v2"

	"github.com/jobgate/jobgate/internal/job"
)

// Kind is what was decided.
type Kind string

// The kinds of decisions.
const (
	Login       Kind = "login"        // a job has logged in; the first time only, over the time that it is known
	DeniedLogin Kind = "denied_login" // it has, with an identity that may do nothing and carries the reason
	Rejected    Kind = "rejected"     // a credential was refused
	Undecided   Kind = "undecided"    // GitLab could not be asked about a credential
	Denied      Kind = "denied"       // a request was refused
	WouldDeny   Kind = "would_deny"   // a restriction in report mode would have refused a request
)

// Record is one decision. Fields that are empty are left out.
type Record struct {
	Time        time.Time `json:"time"`
	Decision    Kind      `json:"decision"`
	Reason      string    `json:"reason,omitempty"`      // one word, as in the metrics
	Restriction string    `json:"restriction,omitempty"` // its name
	Message     string    `json:"message,omitempty"`
	Job         int64     `json:"job,omitempty"`
	Project     int64     `json:"project,omitempty"`
	Pipeline    int64     `json:"pipeline,omitempty"`
	User        int64     `json:"user,omitempty"`
	Username    string    `json:"username,omitempty"`
	Agent       int64     `json:"agent,omitempty"`
	Cluster     string    `json:"cluster,omitempty"`
	Grant       string    `json:"grant,omitempty"`
	As          string    `json:"as,omitempty"` // the user name of the identity
	Verb        string    `json:"verb,omitempty"`
	APIGroup    string    `json:"apiGroup,omitempty"`
	Resource    string    `json:"resource,omitempty"`
	Subresource string    `json:"subresource,omitempty"`
	Namespace   string    `json:"namespace,omitempty"`
	Name        string    `json:"name,omitempty"`
	Path        string    `json:"path,omitempty"` // of a request for no resource
	// LeftOut counts the records that were left out since the last one, of this kind and those that share its budget.
	LeftOut int64 `json:"leftOut,omitempty"`
}

// About fills in the fields of a job.
func (r *Record) About(j *job.Job) {
	r.Job, r.Project, r.Pipeline, r.User, r.Username = j.ID, j.ProjectID, j.PipelineID, j.UserID, j.Username
}

// budget bounds the records of some kinds: enough for a busy night, few enough that no flood fills a disk.
type budget struct {
	perSecond rate.Limit
	burst     int
	kinds     []Kind
}

// budgets are one for each class of decisions. Anyone can cause a rejection, and must not be able to push out the
// line that says which job has logged in.
func budgets() []budget {
	return []budget{
		{perSecond: 200, burst: 5000, kinds: []Kind{Login, DeniedLogin}},
		{perSecond: 50, burst: 2000, kinds: []Kind{Denied, WouldDeny}},
		{perSecond: 20, burst: 1000, kinds: []Kind{Rejected, Undecided}},
	}
}

// message is the line of the log.
func (k Kind) message() string {
	switch k {
	case Login:
		return "Job logged in"
	case DeniedLogin:
		return "Job logged in with a denied identity"
	case Rejected:
		return "Token rejected"
	case Undecided:
		return "Token could not be checked"
	case Denied:
		return "Request denied"
	default:
		return "Request would be denied"
	}
}

// Log writes records. It is safe for concurrent use.
type Log struct {
	kinds map[Kind]*class

	mu      sync.Mutex
	stream  io.Writer // nil: none
	failing atomic.Bool

	records *prometheus.CounterVec
	lost    *prometheus.CounterVec
}

type class struct {
	limiter *rate.Limiter
	leftOut atomic.Int64
}

// NewLog returns a log with its budgets unspent. stream gets one JSON object a line; nil for none. A nil registerer leaves
// the metrics unregistered.
func NewLog(stream io.Writer, r prometheus.Registerer) *Log {
	f := promauto.With(r)
	l := &Log{
		kinds:  map[Kind]*class{},
		stream: stream,
		records: f.NewCounterVec(prometheus.CounterOpts{
			Name: "jobgate_decisions_total",
			Help: "Decisions about credentials and requests, by kind.",
		}, []string{"decision"}),
		lost: f.NewCounterVec(prometheus.CounterOpts{
			Name: "jobgate_decisions_lost_total",
			Help: "Decisions of which no record was kept, by kind and cause: budget (too many at once) or stream (it could not be written).",
		}, []string{"decision", "cause"}),
	}
	for _, b := range budgets() {
		shared := &class{limiter: rate.NewLimiter(b.perSecond, b.burst)}
		for _, kind := range b.kinds {
			l.kinds[kind] = shared
		}
	}
	return l
}

// Write keeps a record, or counts it as lost and returns false: there were too many at once, or the stream could not be
// written. The log has the line in the second case.
func (l *Log) Write(logger klog.Logger, r Record) (kept bool) {
	l.records.WithLabelValues(string(r.Decision)).Inc()
	c := l.kinds[r.Decision]
	if !c.limiter.Allow() {
		c.leftOut.Add(1)
		l.lost.WithLabelValues(string(r.Decision), "budget").Inc()
		return false
	}
	r.Time, r.LeftOut = time.Now().UTC(), c.leftOut.Swap(0)
	// The line's source is the caller, which decided.
	logger.WithCallDepth(1).Info(r.Decision.message(), r.fields()...)
	if err := l.writeStream(&r); err != nil {
		c.leftOut.Add(r.LeftOut) // for the next record that the stream does get
		l.lost.WithLabelValues(string(r.Decision), "stream").Inc()
		if !l.failing.Swap(true) {
			logger.Error(err, "Decision log cannot be written; jobgate_decisions_lost_total counts what is lost")
		}
		return false
	}
	if l.failing.Swap(false) {
		logger.Info("Decision log is written again")
	}
	return true
}

func (l *Log) writeStream(r *Record) error {
	if l.stream == nil {
		return nil
	}
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode a decision: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.stream.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write a decision: %w", err)
	}
	return nil
}

// fields are the record's for the log: the same names as in JSON, in the same order.
func (r *Record) fields() []any {
	fields := make([]any, 0, 40)
	text := func(key, value string) {
		if value != "" {
			fields = append(fields, key, value)
		}
	}
	id := func(key string, value int64) {
		if value != 0 {
			fields = append(fields, key, value)
		}
	}
	text("reason", r.Reason)
	text("restriction", r.Restriction)
	text("message", r.Message)
	id("job", r.Job)
	id("project", r.Project)
	id("pipeline", r.Pipeline)
	id("user", r.User)
	text("username", r.Username)
	id("agent", r.Agent)
	text("cluster", r.Cluster)
	text("grant", r.Grant)
	text("as", r.As)
	text("verb", r.Verb)
	text("apiGroup", r.APIGroup)
	text("resource", r.Resource)
	text("subresource", r.Subresource)
	text("namespace", r.Namespace)
	text("name", r.Name)
	text("path", r.Path)
	id("leftOut", r.LeftOut)
	return fields
}
