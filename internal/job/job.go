// Package job is what jobgate knows about CI jobs, whatever vouched for them: the vocabulary, how long an answer may be
// used, and one lookup at a time for each credential.
//
// It must not know HTTP, GitLab's API or Kubernetes, nor what a request is for: the same knowledge serves authentication
// and authorization. What it asks, it asks through the interfaces in source.go.
package job

// Job is what is known about one job. It is shared and never changed: a refresh makes a new one.
type Job struct {
	ID         int64
	PipelineID int64
	ProjectID  int64
	UserID     int64  // 0 while it is not known, which only an identity's extras leave open
	Username   string // never empty
	// Groups are the ids of the project's groups, in GitLab's order.
	Groups Fact[[]int64]
	// Roles are the names of the user's roles in the project, each lower role included.
	Roles       Fact[[]string]
	Environment Environment
	Ref         Ref
	// PipelineSource is GitLab's name for what started the pipeline: push, schedule, merge_request_event and others.
	PipelineSource Fact[string]
	Commit         string // the full SHA; empty while it is not known
	URL            string // the job's page; empty while it is not known
	// Agents are the agents of this cluster that GitLab lists for the job, each id once. A job of an ID token has none.
	Agents []Agent
	// KeyID names the key that signed the job's ID token; empty for a job token.
	KeyID string
	// TokenID is the ID token's jti; empty for a job token.
	TokenID string
}

// Fact is something that may or may not be known about a job. The zero value is not known, and satisfies no rule.
type Fact[T any] struct {
	Value T
	Known bool
	// Why says which permission would teach the fact, or why it cannot exist. It is empty while the fact is known, and
	// while it could not be asked for but may be later.
	Why string
	// Refused says that GitLab refused to say it, to every credential.
	Refused bool
}

// KnownFact is a fact with its value.
func KnownFact[T any](value T) Fact[T] { return Fact[T]{Value: value, Known: true} }

// isSettled says that asking again teaches nothing new.
func (f *Fact[T]) isSettled() bool { return f.Known || f.Why != "" }

// Tiers are all that an environment can have (GitLab's app/models/environment.rb).
var Tiers = []string{"production", "staging", "testing", "development", "other"}

// Environment is the job's environment. The zero value is none.
type Environment struct {
	Slug string // a DNS label; empty where the job has no environment
	Tier string // a DNS label: production, staging, testing, development or other
	// Name is the full name. Only the name proves the name: production- has the slug production, too.
	Name Fact[string]
	// NotMatching are patterns that the name is known not to match, while Name is not known.
	NotMatching []string
	// Protected says whether GitLab protects the environment (Premium).
	Protected Fact[bool]
}

// Exists says whether the job has an environment at all.
func (e *Environment) Exists() bool { return e.Slug != "" }

// Ref is the branch or tag that the job runs for.
type Ref struct {
	Name string // short, as in main; empty while it is not known
	Type RefType
	// MergeRequest is set in a merge request's pipeline, whose code no one has approved yet: the ref counts as unprotected.
	MergeRequest bool
	Protection   Protection
	// Why says what would teach the name and the type, and ProtectionWhy the same for the protection. Both are as Fact.Why.
	Why           string
	ProtectionWhy string
}

// RefType tells branches from tags. The zero value is not known.
type RefType string

// The types of a ref.
const (
	Branch RefType = "branch"
	Tag    RefType = "tag"
)

// Protection is what is known of a ref's protection. The zero value is not known, and satisfies no rule.
type Protection int

// The states of protection.
const (
	ProtectionUnknown Protection = iota
	Unprotected
	Protected
)

// MergeRequestEvent is the pipeline source of a merge request's pipeline.
const MergeRequestEvent = "merge_request_event"

// Agent returns the entry of an agent, or nil when GitLab does not list it for the job.
func (j *Job) Agent(id int64) *Agent {
	for i := range j.Agents {
		if j.Agents[i].ID == id {
			return &j.Agents[i]
		}
	}
	return nil
}
