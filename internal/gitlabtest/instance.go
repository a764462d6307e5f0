package gitlabtest

import "time"

// Instance is everything that the fake knows: a GitLab instance as one plain value. Tests build one, start a server with
// it and change it through Server.Update; every change takes effect with the next request, as it does on a GitLab that reads
// its primary database for these endpoints.
type Instance struct {
	Settings Settings
	Groups   []Group
	Projects []Project
	Users    []User
	Agents   []Agent
	Jobs     []Job
	Tokens   []AccessToken
}

// Settings are the instance's edition, release and administrator choices, as far as a job token's view depends on them.
// The zero value is a current, unlicensed instance.
type Settings struct {
	// Licensed is a Premium or Ultimate licence: without it authorizations with access_as ci_job, ci_user or
	// impersonate vanish from the lookup (config_scopes.rb).
	Licensed bool
	// OrganizationAuthorization is organization_cluster_agent_authorization_enabled: instance entries count and, from
	// 18.1 on, project and group entries reach across top-level groups. Only one organization bounds them then.
	OrganizationAuthorization bool
	// Release is the GitLab version, such as 18.2.2; the current one when empty. The claims of ID tokens, the format of
	// job tokens and the reach of OrganizationAuthorization are those of that release.
	Release string
	// IDTokenIssuer is ci_id_tokens.issuer_url, the issuer of ID tokens; the instance's URL when empty.
	IDTokenIssuer string
	// IgnoresProtectedBranches makes the lookup behave as a release before 17.10: protected_branches_only is returned
	// in the configuration but does not filter.
	IgnoresProtectedBranches bool
	// RejectsCanceling answers 401 for a job in status canceling, as some releases do.
	RejectsCanceling bool
	// AcceptsAnyTokenShape accepts job tokens without the glcbt- prefix, as releases before 16.9 do.
	AcceptsAnyTokenShape bool
	// RefusesBranchesToJobTokens answers 404 for the lists of branches and tags with a job token, as releases before 19
	// do.
	RefusesBranchesToJobTokens bool
	// RefusesEnvironmentsToJobTokens answers 403 for the environments API with a job token (fine-grained permissions).
	RefusesEnvironmentsToJobTokens bool
	// OmitsPlanner leaves the planner role out of roles_in_project, as releases before 17.7 do.
	OmitsPlanner bool
	// FeatureFlags is the value of the Gitlab-Feature-Flag header of a lookup: name=value pairs, or empty.
	FeatureFlags string
	// ExtraRoles are added to every non-empty roles_in_project: GitLab has added role names over time.
	ExtraRoles []string
	// InstanceTokenPrefix is put before glcbt- in JWT job tokens.
	InstanceTokenPrefix string
}

// Group is a group; Parent 0 makes it a top-level group.
type Group struct {
	ID     int64
	Parent int64
	Path   string // full path, such as group1/group1-1
}

// Project is a project of a group, or of a user's namespace when Group is 0.
type Project struct {
	ID    int64
	Group int64
	// UserNamespace is the namespace id of a personal project; 0 is filled in by the path.
	UserNamespace int64
	Path          string // full path
	Organization  int64  // 0 is the default organization
	PendingDelete bool
	// Public lets everyone read the project and its repository. Only members see a private project, and reading its
	// environments and repository takes the reporter role.
	Public bool
	// PrivatePipelines hides the jobs of a private project from guests ("Public pipelines" is off).
	PrivatePipelines bool
	// IDTokenSubject are the parts of sub in ID tokens (ci_id_token_sub_claim_components); project_path, ref_type and
	// ref when empty.
	IDTokenSubject []string
	// Branches and Tags exist in the repository; the protected lists are names or wildcards with *.
	Branches          []string
	Tags              []string
	ProtectedBranches []string
	ProtectedTags     []string
	Environments      []Environment
	// ProtectedEnvironments are names of environments, which need not exist (Premium and Ultimate).
	ProtectedEnvironments []string
}

// Environment is a persisted environment. An ID of 0 is filled in, an empty Slug or Tier by GitLab's own rules. The
// slug is a stored column: renaming an environment keeps it.
type Environment struct {
	ID    int64
	Name  string
	Slug  string
	Tier  string
	State string // available (also when empty), stopping or stopped
}

// User is a user; Access maps a project id to an access level (10 guest, 15 planner, 20 reporter, 30 developer,
// 40 maintainer, 50 owner).
type User struct {
	ID       int64
	Username string
	Access   map[int64]int
	// DeniedReason is the text after "403 Forbidden - " for a user who may not use the API, such as DeniedBlocked;
	// empty for an active user.
	DeniedReason string
	// Email is in ID tokens; <username>@example.com when empty.
	Email string
	// Identities are in ID tokens if the user lets GitLab pass them on; DirectGroups are paths of groups, which ID
	// tokens name if the flag ci_jwt_groups_direct is on and there are at most 200.
	Identities   []Identity
	DirectGroups []string
}

// Identity is a user's account at a provider that the user logs in with.
type Identity struct {
	Provider  string `json:"provider"`
	ExternUID string `json:"extern_uid"`
}

// Agent is an agent registered in a project. Config is its .gitlab/agents/<name>/config.yaml as committed. Every Update
// pushes it to GitLab again (RefreshService), so paths in it are resolved against the state of that moment.
type Agent struct {
	ID      int64
	Name    string
	Project int64
	Config  string
}

// Job is a job with its pipeline.
type Job struct {
	ID       int64
	Name     string // deploy when empty
	Project  int64
	User     int64  // 0: a job without user
	Status   string // running, canceling, success, failed, canceled, pending, ...
	Erased   bool
	Pipeline Pipeline
	// Environment is the full name in the job's environment keyword; it counts once the project has that environment.
	Environment string
	// DeploymentTier and EnvironmentAction are the job's environment:deployment_tier and environment:action. They show
	// in ID tokens alone; start when there is no action.
	DeploymentTier    string
	EnvironmentAction string
	// Protected is whether the ref was protected when the job was made; filled in from the project's rules. ID tokens
	// have it. The lookup judges by the rules of the moment.
	Protected *bool
	// Runner is the id of the job's runner, 1 when it is 0, and Timeout the job's timeout, an hour when it is 0.
	Runner  int64
	Timeout time.Duration
	// Token is the job's CI_JOB_TOKEN; Update fills in an empty one according to TokenFormat. One that is given is
	// looked up as it stands, except with TokenFormat jwt: then this server must have signed it.
	Token string
	// TokenFormat is "jwt" for glcbt-<JWT>, "database" for glcbt-<hex partition>_<20 characters>, "partition" for <hex
	// partition>_<20 characters> and "legacy" for 20 characters without prefix. A current GitLab refuses the last two
	// (Settings.AcceptsAnyTokenShape). An empty one is filled in: database for a given Token, or else what the release
	// makes, which is jwt from 19.0 on. A top-level group may still choose the database format until 20.0.
	TokenFormat string
	// TokenExpires is the JWT's exp in whole seconds; zero is filled in as an hour and five minutes from its creation.
	// To change it, empty Token as well.
	TokenExpires time.Time
}

// Pipeline is the pipeline of a job.
type Pipeline struct {
	ID  int64  // the job's own id when 0
	Ref string // main (also when empty), v1.0, refs/merge-requests/1/head
	// Kind is branch (also when empty), tag or merge_request.
	Kind   string
	Source string // push when empty, or merge_request_event for kind merge_request
	SHA    string // derived from the pipeline's id when empty
	// SourceBranch is the source branch of a merge request, feature when empty. SourceProject is the fork that has the
	// branch, or 0 when the merge request is not from a fork.
	SourceBranch  string
	SourceProject int64
}

// AccessToken is a personal, project or group access token.
type AccessToken struct {
	Token  string
	User   int64
	Scopes []string // read_api, api, ...
	// Expires is when it expires, or zero for never.
	Expires time.Time
	Revoked bool
}

// The endpoints the fake serves, as named in faults and counters.
const (
	AllowedAgents        = "GET /job/allowed_agents"
	CurrentJob           = "GET /job"
	ProjectJob           = "GET /projects/:id/jobs/:job_id"
	ProjectGroups        = "GET /projects/:id/groups"
	Environments         = "GET /projects/:id/environments"
	ProtectedEnvironment = "GET /projects/:id/protected_environments/:name"
	Branches             = "GET /projects/:id/repository/branches"
	Branch               = "GET /projects/:id/repository/branches/:branch"
	Tags                 = "GET /projects/:id/repository/tags"
	Tag                  = "GET /projects/:id/repository/tags/:tag"
	Version              = "GET /version"
	AccessTokenSelf      = "GET /personal_access_tokens/self"
	KeySet               = "GET /oauth/discovery/keys"
	Discovery            = "GET /.well-known/openid-configuration"
	AnyEndpoint          = "*"
)

// Fault is what goes wrong with some calls of an endpoint, instead of or before the real answer.
//
// Faults form a queue. Of those that concern an endpoint, the earliest alone decides each call: it lets the call pass
// (Skip) or hits it. After it has hit Calls calls it is gone, and the next one begins with its own Skip.
type Fault struct {
	Endpoint string // one of the endpoint names, or AnyEndpoint
	Calls    int    // how many calls it hits, in turn; 0: all until cleared
	Skip     int    // how many calls pass before it starts
	// JobTokens, if it is not empty, is the beginning of the job tokens whose calls alone the fault concerns.
	JobTokens string

	Delay time.Duration // wait, then go on with the rest of the fault or the real answer
	Hang  bool          // never answer; ends with the client's patience or the server

	Status int               // answer this status
	Header map[string]string // with these headers; alone: added to the real answer
	Body   string            // and this body; alone: in place of the real one
	// ContentType is text/html when empty and Status is set; alone: the real body, mislabelled.
	ContentType string

	Truncate  bool   // the body, cut in half with its length intact, then the connection ends
	Oversize  int    // the body, padded with white space to this many bytes
	Redirect  string // 302 to this URL
	Reset     bool   // TCP reset before any answer
	EchoToken bool   // with Status: the body is a JSON message that repeats the credential
}

// Request is one request as the fake saw it.
type Request struct {
	Endpoint string // "" for a path it does not serve
	Method   string
	URI      string
	Header   map[string][]string
}
