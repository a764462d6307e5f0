package job

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Lane says on whose behalf a source asks GitLab. Logins and Refreshes have a guaranteed half each of what GitLab may be asked.
type Lane int

const (
	// Logins is for credentials that are not known yet.
	Logins Lane = iota
	// Refreshes is for jobs that are known, and for facts about them.
	Refreshes
	// Strangers is for jobs of which only the id is known, and which GitLab has not confirmed. They may be running jobs, or ids
	// that a user of the cluster has made up. So they come last in the lane of Refreshes, and a flood of them holds nothing up.
	Strangers
)

// Source says whose credential a token is. Every call ends by itself within a bounded time.
type Source interface {
	// Identify returns the job behind the token, without the facts that FactSource teaches. before is the last answer for
	// the same token, nil the first time; the source may keep from it what cannot change. A *RejectedError is definite.
	// Every other error says nothing about the job; an *UnavailableError in its chain says more.
	Identify(ctx context.Context, token string, before *Job, lane Lane) (*Job, error)
}

// FactSource teaches what Identify does not say of a job token's job. It picks the credential: the job's own token where
// that is enough, since it is the narrower one, else jobgate's access token.
//
// An *UnlearnableError is definite: no credential may learn the fact, or there is none. Any other error means that the
// fact could not be asked for now.
type FactSource interface {
	// Details returns what one question about the running job teaches.
	Details(ctx context.Context, token string, j *Job) (Details, error)
	// RefProtected says whether the ref in j.Ref, of a known type, is protected now.
	RefProtected(ctx context.Context, token string, j *Job) (bool, error)
	// EnvironmentNamed says whether the job's environment has this name. It costs one call.
	EnvironmentNamed(ctx context.Context, token string, j *Job, name string) (bool, error)
	// EnvironmentName finds the full name of the job's environment. Patterns narrow the search: the error may wrap
	// ErrNoMatch for a name that none of them matches. No patterns means any name.
	EnvironmentName(ctx context.Context, token string, j *Job, patterns []string) (string, error)
	// EnvironmentProtected says whether GitLab protects the job's environment, whose name is known.
	EnvironmentProtected(ctx context.Context, j *Job) (bool, error)
}

// Details are the facts that come with one question about a running job.
type Details struct {
	Ref            Ref // without its protection, but for a merge request's, which is Unprotected
	PipelineSource string
	Commit         string
	URL            string
}

// StatusSource says how a job is by its id, without its credential.
type StatusSource interface {
	// CanAsk is false where there is no access token to ask with.
	CanAsk() bool
	// Status returns GitLab's status of the job. A *RejectedError is definite: there is no such job.
	Status(ctx context.Context, projectID, jobID int64, lane Lane) (string, error)
}

// The statuses that matter here (GitLab's app/models/concerns/ci/has_status.rb).
const (
	StatusRunning   = "running"
	StatusCanceling = "canceling" // the job's after_script still runs
)

// Rejection is why a credential or a job was definitely refused.
type Rejection string

// The rejections.
const (
	// NotRunning: the job has ended, or the credential is no running job's.
	NotRunning Rejection = "not_running"
	// ForbiddenUser: the job's user may not use GitLab's API.
	ForbiddenUser Rejection = "forbidden_user"
	// NotAJob: the credential belongs to something that is no job.
	NotAJob Rejection = "not_a_job_token"
	// Invalid: an ID token whose signature or claims are wrong.
	Invalid Rejection = "invalid"
	// Expired: an ID token past its end.
	Expired Rejection = "expired"
)

// RejectedError is a definite no. Asking again would not change it.
type RejectedError struct {
	Rejection Rejection
	// Message is the source's own text: at most 256 bytes that another system wrote, so quote it. It may be empty.
	Message string
	// Job is the job that the credential was known for; nil where it was not known.
	Job *Job
	// Fleeting says that the answer may be another a moment later, so it is not remembered.
	Fleeting bool
}

func (e *RejectedError) Error() string {
	if e.Message == "" {
		return "the credential is rejected: " + string(e.Rejection)
	}
	return fmt.Sprintf("the credential is rejected: %s (%q)", e.Rejection, e.Message)
}

// UnlearnableError says that a fact cannot be learned.
type UnlearnableError struct {
	Why     string // which permission would teach it, or why there is nothing to learn; for the reader of a refusal
	Refused bool   // GitLab refused to say it, to every credential
	Err     error  // what GitLab answered; may be nil
}

func (e *UnlearnableError) Error() string { return "learn a fact about a job: " + e.Why }

func (e *UnlearnableError) Unwrap() error { return e.Err }

// ErrNoMatch is in the chain of the error for an environment whose name matches none of the patterns.
var ErrNoMatch = errors.New("the environment's name matches none of the patterns")

// UnavailableError says that a source could not tell. It decides nothing about the job.
type UnavailableError struct {
	RetryAfter time.Duration // how long the source asked to be left alone; zero if it did not say
	TimedOut   bool          // the question was sent and no answer came in time
	Err        error
}

func (e *UnavailableError) Error() string { return e.Err.Error() }

func (e *UnavailableError) Unwrap() error { return e.Err }

// The errors of Registry.LookupID.
var (
	// ErrUnknown is returned for a job that this registry has not seen, or has long forgotten.
	ErrUnknown = errors.New("job is not known here")
	// ErrUnconfirmed is returned for a job that its source has not confirmed for longer than an answer may serve.
	ErrUnconfirmed = errors.New("GitLab has not confirmed the job for too long")
	// ErrCannotConfirm is returned for a job that GitLab must confirm while there is no access token to ask it with.
	ErrCannotConfirm = errors.New("there is no access token to ask GitLab about the job")
)

// ErrPanic is in the chain of the error for a lookup that panicked: a bug, which must cost one login and not the process.
var ErrPanic = errors.New("lookup panicked")
