// Package config knows jobgate's configuration file: its schema, its defaults, what makes it valid, and where in the file a
// mistake is. It must not know what the settings are used for: it opens no connection and holds no state of the running
// server.
//
// The types are the schema. Whatever there is to say about a key stands in the tags of its field, here or in the package
// that defines the type, and is said once. Reading the file, the checks of single values, `jobgate config schema` and
// docs/configuration.md follow from them:
//
//	json      the key
//	doc       what it means: one or more sentences of plain text; docs/x.md becomes a link
//	cost      what a choice costs: time, memory, load on GitLab, or security
//	example   a value as the file has it
//	required  "true" if the key must be there and not be empty
//	enum      the values that there are, separated by commas
//	bounds    of a number or a duration: "from 1 to 10", "at least 1", "above 0", "above 0s and at most 25s"
//
// On a list, enum and bounds hold for each item. Default has the defaults. What one value alone cannot tell is checked by
// methods (validate here, Validate in other packages); they are not asked about values that failed these checks. The
// fields of an embedded struct are keys of the object that embeds it. Fields are structs, slices, pointers, strings, bools,
// ints, int64s, float64s, Durations, or types made of these.
//
// After a change: UPDATE_DOCS=1 go test ./internal/config
package config

import "github.com/jobgate/jobgate/internal/policy"

// The only version and kind of configuration file that this release reads.
const (
	APIVersion = "jobgate.io/v1alpha1"
	Kind       = "Configuration"
)

// Configuration is one configuration file, with the defaults of Default in the place of what the file leaves out. One
// that Load or Parse returned is valid.
type Configuration struct {
	APIVersion        string               `json:"apiVersion" doc:"The version of this format." enum:"jobgate.io/v1alpha1" required:"true"`
	Kind              string               `json:"kind" doc:"What the file is." enum:"Configuration" required:"true"`
	Cluster           Cluster              `json:"cluster" doc:"This cluster. A change takes effect with a restart."`
	GitLab            GitLab               `json:"gitlab" doc:"The GitLab instance that jobgate asks about jobs, and how much it may ask."`
	Agents            []Agent              `json:"agents" doc:"The GitLab agents for Kubernetes that represent this cluster. jobgate refuses the jobs of any other agent without asking GitLab."`
	Grants            []policy.Grant       `json:"grants" doc:"Jobs that may log in without an agent. The first grant that names a job, and whose requirements hold, admits it. At least one of agents and grants is needed."`
	IDTokens          IDTokens             `json:"idTokens" doc:"GitLab's ID tokens as credentials. They are off while audience is empty."`
	Restrictions      []policy.Restriction `json:"restrictions" doc:"Rules of the cluster, in addition to GitLab's. A request is denied if a restriction matches it and the job does not meet all its requirements. See docs/policies.md."`
	Blocked           policy.Blocked       `json:"blocked" doc:"Jobs that may do nothing here. jobgate refuses them when they log in and on every request, within a second after the file changes. See docs/operations.md."`
	ExtraFacts        []string             `json:"extraFacts" doc:"Facts that are added to the extras of every job, for the audit log." cost:"One request to GitLab for each job. Rules on refs and pipelines share it." enum:"ref,commit,job-url,pipeline-source" example:"[job-url]"`
	ExplainRejections bool                 `json:"explainRejections" doc:"Gives a live job that may not log in an identity without rights, so that kubectl shows a 403 with the reason instead of a bare 401." cost:"Every running job of the whole GitLab instance can then log in, with the rights that the cluster gives to every authenticated user. See docs/security.md."`
	Cache             Cache                `json:"cache" doc:"How long, and how much, jobgate remembers of GitLab's answers."`
	Serving           Serving              `json:"serving" doc:"Where jobgate listens, and to whom it answers. A change takes effect with a restart."`

	// Warnings are what is valid and unwise, in the order of their lines.
	Warnings []Problem `json:"-"`
}

// GitLab is the instance that is asked about jobs, and how much it may be asked.
//
// The longest timeout leaves the answer 5 s to arrive: the API server's token cache gives a TokenReview 30 s
// (k8s.io/apiserver pkg/authentication/token/cache).
type GitLab struct {
	URL                      string    `json:"url" doc:"The root of the GitLab instance, with a path if GitLab has a relative URL root. Without user, query or fragment, and without /api/v4. A change takes effect with a restart, and until then so does a change of caFile or tokenFile." example:"https://gitlab.example.com" required:"true"`
	AllowPlainHTTP           bool      `json:"allowPlainHTTP" doc:"Allows a url with http." cost:"Everyone who sees the traffic can read every job token."`
	CAFile                   string    `json:"caFile" doc:"A PEM file of CA certificates to trust for GitLab, besides those of the system. jobgate reads it again when it changes." example:"gitlab-ca.crt"`
	TokenFile                string    `json:"tokenFile" doc:"A file with a GitLab access token (scope read_api). With it jobgate learns whether jobs with ID tokens still run, and facts that a job token does not show, such as the name of an environment. jobgate reads it again when it changes." cost:"The token can read every project that its user can: protect the file like a key." example:"/etc/kubernetes/jobgate/gitlab-token"`
	FiltersProtectedBranches bool      `json:"filtersProtectedBranches" doc:"True for GitLab 17.10 and later, which itself withholds an agent with protected_branches_only from jobs on other branches. Set it to false for an older GitLab." cost:"If it is false, jobgate asks GitLab about each job's ref."`
	Timeout                  Duration  `json:"timeout" doc:"How long one lookup may take in all: waiting for its turn, every attempt, and the pauses between them." cost:"A first login waits this long if GitLab does not answer." bounds:"above 0s and at most 25s" example:"5s"`
	MaxInFlight              int       `json:"maxInFlight" doc:"How many requests to GitLab may be in their first 250 ms at once. New logins and running jobs have half of the places each. A request that GitLab has not answered by then leaves its place, and at most four such requests may be open for each place." cost:"When GitLab is slow, up to five connections, or streams of one, at GitLab for each place: 320 with the default." bounds:"from 1 to 10000" example:"16"`
	RateLimit                RateLimit `json:"rateLimit" doc:"How many requests jobgate makes to GitLab in all."`
}

// RateLimit is a token bucket over all requests to GitLab.
type RateLimit struct {
	RequestsPerSecond float64 `json:"requestsPerSecond" doc:"Requests per second in the long run. It may be a fraction." cost:"Running jobs and new logins share it. Too low a value delays logins." bounds:"above 0" example:"50"`
	Burst             int     `json:"burst" doc:"How many requests may come at once after a quiet time: a night's 1,000 jobs may start in one second." bounds:"at least 1" example:"200"`
}

// Agent is one GitLab agent for Kubernetes that represents this cluster.
type Agent struct {
	ID             int64              `json:"id" doc:"GitLab's id of the agent. Each agent is listed once." bounds:"at least 1" example:"4" required:"true"`
	Name           string             `json:"name" doc:"The project that configures the agent, a colon, and the agent's name. It is the name of the kubeconfig context, and part of messages." example:"path/to/agent/project:agent-name"`
	ServiceAccount ServiceAccount     `json:"serviceAccount" doc:"The ServiceAccount as which a job acts if the agent's configuration says access_as: agent, or nothing. If it is empty, the job is the user gitlab:agent:<id>." example:"{namespace: deploy, name: ci}"`
	Impersonate    policy.Impersonate `json:"impersonate" doc:"The identities that the agent's configuration may give to jobs with access_as: impersonate. Each entry is an exact name, or a prefix that ends in *. An empty list allows nothing." cost:"Everyone who can change the agent's configuration in GitLab can choose among these identities."`
}

// ServiceAccount names a Kubernetes service account, or none where both parts are empty.
type ServiceAccount struct {
	Namespace string `json:"namespace" doc:"The ServiceAccount's namespace. Set both parts or neither." example:"deploy"`
	Name      string `json:"name" doc:"The ServiceAccount's name." example:"ci"`
}

// Cluster is this cluster.
type Cluster struct {
	Name string `json:"name" doc:"The cluster's name: a DNS label that starts with a letter. Credentials for grants carry it. It is needed with grants." example:"prod"`
}

// IDTokens are GitLab's ID tokens as credentials.
type IDTokens struct {
	Audience        string `json:"audience" doc:"What a token for this cluster names in aud. It must be this cluster's alone: a token with a second audience is refused." example:"https://kubernetes.example.com"`
	Issuer          string `json:"issuer" doc:"What GitLab names in iss. If it is empty, gitlab.url." example:"https://gitlab.example.com"`
	RequireLiveness bool   `json:"requireLiveness" doc:"Asks GitLab whether the job still runs, which needs gitlab.tokenFile. It also concerns jobs whose ID tokens kube-apiserver itself has verified." cost:"If it is false, a token is valid until it expires, even when its job has ended."`
}

// Cache bounds how long and how much is remembered of what GitLab said. A duration of 0 remembers nothing.
type Cache struct {
	FreshFor    Duration `json:"freshFor" doc:"How long jobgate uses an answer without asking again." cost:"A job that has ended keeps its access for up to this long. GitLab is asked about each running job about once in this time." bounds:"at least 0s" example:"30s"`
	StaleFor    Duration `json:"staleFor" doc:"How much longer jobgate uses an answer while GitLab cannot be asked. A definite answer, such as a 401, ends it at once." cost:"While GitLab is away, a job that has ended keeps its access for up to this long." bounds:"at least 0s" example:"5m"`
	RejectedFor Duration `json:"rejectedFor" doc:"How long jobgate remembers that GitLab has rejected a token." bounds:"at least 0s" example:"30s"`
	MaxJobs     int      `json:"maxJobs" doc:"How many jobs jobgate remembers." cost:"Up to 2 KiB of memory each." bounds:"from 1 to 16777216" example:"4096"`
	MaxRejected int      `json:"maxRejected" doc:"How many rejected tokens jobgate remembers. They do not displace jobs." cost:"Up to 600 bytes of memory each." bounds:"from 1 to 16777216" example:"4096"`
}

// Serving is where jobgate listens and whom it serves.
type Serving struct {
	Address       string   `json:"address" doc:"The host and port for reviews, over TLS." cost:"An address that is not a loopback address requires clientCAFile." example:"0.0.0.0:9443" required:"true"`
	CertFile      string   `json:"certFile" doc:"A PEM file with the serving certificate. jobgate reads it again when it changes, like the key and the client CA." example:"pki/serving.pem" required:"true"`
	KeyFile       string   `json:"keyFile" doc:"A PEM file with the serving certificate's key; it may be the same file." example:"pki/serving.pem" required:"true"`
	ClientCAFile  string   `json:"clientCAFile" doc:"A PEM file of CA certificates: the API server's client certificate must be from one of them. It may be empty only on a loopback address." cost:"Without it, every program on the machine can ask whether a token is valid." example:"pki/ca.crt"`
	ClientNames   []string `json:"clientNames" doc:"Names of clients. If the list has any, the client certificate's common name or one of its DNS names must be among them." example:"[kube-apiserver]"`
	HealthAddress string   `json:"healthAddress" doc:"The host and port for /livez, /readyz and /metrics." cost:"Plain HTTP, without authentication: the metrics show how many jobs run." example:"127.0.0.1:9444" required:"true"`
	ReusePort     bool     `json:"reusePort" doc:"Lets a second jobgate listen on the same address. While one of the two restarts, the other one answers. Linux only. Both need the setting, and the same user. See docs/operations.md." cost:"Each of the two asks GitLab for itself."`
}
