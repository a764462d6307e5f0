package job

import "errors"

// ErrConfiguration is in the chain of Agent.Err.
var ErrConfiguration = errors.New("unusable agent configuration")

// Agent is an agent that GitLab lists for a job: the permission to use it, and what its authors ask of the job.
type Agent struct {
	ID              int64
	ConfigProjectID int64
	// Configuration is shared by all jobs with the same entry. It is nil where Err is set.
	Configuration *Configuration
	// Err says why the entry cannot be used; it wraps ErrConfiguration. The job's other agents are not touched.
	Err error
}

// Configuration is one entry of an agent's ci_access, without its id. It is never changed.
type Configuration struct {
	AccessAs              AccessAs
	Impersonate           Impersonate // set with AsImpersonated only
	Environments          []string    // patterns; empty restricts nothing, a blank pattern matches nothing
	ProtectedBranchesOnly bool
}

// AccessAs is the identity that an agent's authors ask for.
type AccessAs int

// The modes of access_as. There is no zero mode: a Configuration that was never read asks for nothing.
const (
	_ AccessAs = iota
	// AsAgent is the agent's own identity; the default.
	AsAgent
	// AsCIJob is the identity of the job.
	AsCIJob
	// AsImpersonated is the identity that the configuration spells out.
	AsImpersonated
)

// Impersonate is a static identity as the agent's authors wrote it.
type Impersonate struct {
	Username string // not empty
	UID      string
	Groups   []string
	Extra    []ExtraKey // in the order written; keys may repeat
}

// ExtraKey is one extra of a static identity (agentcfg's ExtraKeyValCF).
type ExtraKey struct {
	Key    string   `json:"key"`
	Values []string `json:"val"`
}
