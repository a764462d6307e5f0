// Package config knows jobgate's configuration file: its schema, its defaults, what makes it valid, and where in the file a
// mistake is. It must not know what the settings are used for: it opens no connection and holds no state of the running
// server.
package config

// The only version and kind of configuration file that this release reads.
const (
	APIVersion = "jobgate.io/v1alpha1"
	Kind       = "Configuration"
)

// Configuration is one configuration file, with the defaults of Default in the place of what the file leaves out. One
// that Load or Parse returned is valid.
type Configuration struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`

	GitLab GitLab `json:"gitlab"`
	// Agents are the agents that stand for this cluster: at least one, each id once. Any other agent is refused.
	Agents []Agent `json:"agents"`
	// Restrictions are the cluster's own rules, on top of what GitLab says. Each name is there once.
	Restrictions []Restriction `json:"restrictions"`
	// ExplainRejections gives a live job that may not use the agent a readable 403 instead of a bare 401.
	ExplainRejections bool    `json:"explainRejections"`
	Cache             Cache   `json:"cache"`
	Serving           Serving `json:"serving"`
}

// GitLab is the instance that is asked about jobs, and how hard it may be asked.
type GitLab struct {
	// URL is the root of the instance: http or https, a host, and a path where GitLab has a relative URL root. It
	// carries no user, query or fragment.
	URL string `json:"url"`
	// AllowPlainHTTP consents to a URL with http, which shows every job token to whoever sees the traffic.
	AllowPlainHTTP bool `json:"allowPlainHTTP"`
	// CAFile is a PEM bundle that is trusted besides the system's certificates; empty for none.
	CAFile string `json:"caFile"`
	// TokenFile holds an access token with the scope read_api; empty for none.
	TokenFile string `json:"tokenFile"`
	// FiltersProtectedBranches says that GitLab itself withholds an agent whose protected_branches_only a job does not
	// satisfy, as 17.10 and later do.
	FiltersProtectedBranches bool `json:"filtersProtectedBranches"`
	// Timeout bounds one whole lookup, retries and waiting for a place included: above 0, at most 25s.
	Timeout Duration `json:"timeout"`
	// MaxInFlight bounds the requests under way at once: 1 to 10000.
	MaxInFlight int       `json:"maxInFlight"`
	RateLimit   RateLimit `json:"rateLimit"`
}

// RateLimit is a token bucket over all requests to GitLab.
type RateLimit struct {
	// RequestsPerSecond is above 0 and may be a fraction.
	RequestsPerSecond float64 `json:"requestsPerSecond"`
	// Burst is at least 1.
	Burst int `json:"burst"`
}

// Agent is one GitLab agent for Kubernetes that stands for this cluster.
type Agent struct {
	// ID is GitLab's id of the agent, 1 to 2^63-1.
	ID int64 `json:"id"`
	// Name is path/to/project:agent-name, or empty.
	Name string `json:"name"`
	// ServiceAccount is the identity of a job with access_as: agent. Both parts are empty for the user
	// gitlab:agent:<id>.
	ServiceAccount ServiceAccount `json:"serviceAccount"`
	// Impersonate is what a job with access_as: impersonate may become: by default nothing.
	Impersonate Impersonate `json:"impersonate"`
}

// ServiceAccount names a Kubernetes service account, or none where both parts are empty.
type ServiceAccount struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// Impersonate lists what an agent's access_as: impersonate may name. An entry is an exact name, or a prefix that ends
// in "*"; an empty list allows nothing.
type Impersonate struct {
	Users  []string `json:"users"`
	Groups []string `json:"groups"`
	UIDs   []string `json:"uids"`
	// ExtraKeys are never under a prefix that jobgate, GitLab's agent or Kubernetes itself speaks for.
	ExtraKeys []string `json:"extraKeys"`
}

// Restriction denies the requests that match all its filters unless all its requirements are met. A filter that is
// empty matches every request.
type Restriction struct {
	// Name is shown to whom the restriction denies.
	Name string `json:"name"`
	// Agents are ids of configured agents.
	Agents []int64 `json:"agents"`
	// Namespaces are patterns as for Requirements.Environments. Cluster-scoped and non-resource requests match only
	// where there are none.
	Namespaces []string `json:"namespaces"`
	// Verbs, APIGroups and Resources read as in a Kubernetes RBAC rule.
	Verbs     []string `json:"verbs"`
	APIGroups []string `json:"apiGroups"`
	Resources []string `json:"resources"`
	// Require holds at least one requirement.
	Require Requirements `json:"require"`
}

// Requirements are facts about a job; all that are given must hold, each list by any one of its items.
type Requirements struct {
	// Environments are patterns for an environment's whole name, in which "*" is any run of characters.
	Environments []string `json:"environments"`
	// EnvironmentTiers are among GitLab's five: production, staging, testing, development and other.
	EnvironmentTiers []string `json:"environmentTiers"`
	// ProtectedRef asks for a protected branch or tag; false asks for nothing.
	ProtectedRef bool `json:"protectedRef"`
	// Projects and Groups are GitLab's ids, from 1.
	Projects []int64 `json:"projects"`
	Groups   []int64 `json:"groups"`
	// Roles are names as in GitLab's roles_in_project. GitLab adds roles, so any name is accepted.
	Roles []string `json:"roles"`
}

// Cache bounds how long and how much is remembered of what GitLab said. A duration of 0 remembers nothing.
type Cache struct {
	// FreshFor is how long an answer is used without asking again.
	FreshFor Duration `json:"freshFor"`
	// StaleFor is how long past FreshFor it is used while GitLab cannot answer.
	StaleFor Duration `json:"staleFor"`
	// RejectedFor is how long a definite rejection is remembered.
	RejectedFor Duration `json:"rejectedFor"`
	// MaxJobs and MaxRejected bound the entries of the two caches: 1 to 16777216 (16 Mi).
	MaxJobs     int `json:"maxJobs"`
	MaxRejected int `json:"maxRejected"`
}

// Serving is where jobgate listens and whom it serves.
type Serving struct {
	// Address is host:port; a port of 0 takes a free one.
	Address string `json:"address"`
	// CertFile and KeyFile are PEM files that belong together.
	CertFile string `json:"certFile"`
	KeyFile  string `json:"keyFile"`
	// ClientCAFile is a PEM bundle that verifies the API server's client certificate. It is empty only where Address is
	// a loopback address.
	ClientCAFile string `json:"clientCAFile"`
	// ClientNames, unless empty, are the common names or DNS names that a client certificate may have.
	ClientNames []string `json:"clientNames"`
	// HealthAddress is the host:port that serves health and metrics over plain HTTP.
	HealthAddress string `json:"healthAddress"`
}
