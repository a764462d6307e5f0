// Package extras names the extras of a job's identity, which one side of jobgate writes and the other reads back. It
// knows names only. kube-apiserver makes the keys of extras lower case, and so are these.
package extras

// The extras GitLab documents ("Impersonate the CI/CD job that accesses the cluster"). They are on every identity, so that
// the audit log names the job whatever it acts as.
const (
	Agent         = "agent.gitlab.com/id"
	ConfigProject = "agent.gitlab.com/config_project_id"
	Project       = "agent.gitlab.com/project_id"
	Pipeline      = "agent.gitlab.com/ci_pipeline_id"
	Job           = "agent.gitlab.com/ci_job_id"
	Username      = "agent.gitlab.com/username"
	Slug          = "agent.gitlab.com/environment_slug"
	Tier          = "agent.gitlab.com/environment_tier"
)

// jobgate's own extras: the reason of a denied identity, and the facts by which a job is judged where nothing else is
// known of it (after a restart, by another replica).
const (
	Denied       = "jobgate.io/denied"
	Environment  = "jobgate.io/environment"   // the full name
	Ref          = "jobgate.io/ref"           // the branch or tag
	RefProtected = "jobgate.io/ref-protected" // true or false
	Group        = "jobgate.io/group"         // ids of the project's groups
	Role         = "jobgate.io/role"          // of the job's user in the project
)
